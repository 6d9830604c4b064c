"""What is read from a training: metrics, histograms, losses, the probe."""
