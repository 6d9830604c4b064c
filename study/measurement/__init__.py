"""The measurements of a training: metrics, histograms and losses; and the probe of Gaussian products."""
