"""Combine the predictions of several classifiers: numpy on stored predictions, no images, no model, no torch."""
