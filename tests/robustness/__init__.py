"""Checks that take minutes, so that they are not part of the tests.

Each prints its figures, and its exit status says whether they are good.
"""
