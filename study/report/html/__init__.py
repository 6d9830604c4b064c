"""Parts of a page and their HTML."""
