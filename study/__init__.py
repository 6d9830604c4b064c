"""A reproducible study of how a network starts: conditions × seeds, trained, measured, judged, reported."""
