"""From tables to values over seeds, predictions, judged claims and differences."""
