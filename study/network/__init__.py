"""What a network is: its layers, their activations, norms and initialisers, and the model itself."""
