"""Parts of a page and their HTML: what study/page.py is put together from."""
