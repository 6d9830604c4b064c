"""The speed of the study's engines beside their peers: `python -m benchmarks.speed`."""
