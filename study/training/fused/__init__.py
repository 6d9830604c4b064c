"""The fused engine: one model in one core's cache, compiled by Numba."""
