"""Turn tables into values over seeds, predictions, judged claims and differences."""
