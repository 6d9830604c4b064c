"""The study file: read, checked, resolved, described."""
