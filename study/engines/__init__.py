"""Ways to run a training: one module per engine."""
