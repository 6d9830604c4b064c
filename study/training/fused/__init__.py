"""The fused engine: it trains one model in the cache of one core, compiled by Numba."""
