"""The records of a network (its layers, their activations, norms and initialisers), and the model itself."""
