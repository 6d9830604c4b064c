"""Measure the speed of the study's engines and of their peers: `python -m benchmarks.speed`."""
