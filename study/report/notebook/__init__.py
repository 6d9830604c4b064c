"""The notebook of a condition."""
