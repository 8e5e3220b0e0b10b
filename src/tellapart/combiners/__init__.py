"""From the answers of several classifiers to one answer: numpy on stored predictions, no images, no model, no torch."""
