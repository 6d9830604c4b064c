"""The sections of the report: a function for each question."""
