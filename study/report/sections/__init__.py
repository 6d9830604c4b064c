"""The sections of the report: a file and a function for each question."""
