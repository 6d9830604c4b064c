"""The activations and norms of which the fused engine has a kernel."""

from __future__ import annotations

LINEAR, TANH, RELU = range(3)  # the numbers by which the kernel knows the activations
ACTIVATIONS = {"linear": LINEAR, "tanh": TANH, "relu": RELU}
# norms by name and options, and the arrays of each
NORMS: dict[tuple[str, object], tuple[str, ...]] = {
    ("none", ()): (),
    ("batch", ()): ("bngain", "bnbias", "mean", "std"),
}
