"""The page of a study, its notebooks and its picture."""
