"""The ladder: what `compare` trains by default, from what sees no pixel to the network. Imports nothing."""

LADDER = ("null", "neighbors", "spectrum-linear", "svm-pca-rbf", "mlp", "cnn-small")
