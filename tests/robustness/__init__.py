"""Checks of minutes, not for every run of the tests: each prints its figures, and its status says whether they are good."""
