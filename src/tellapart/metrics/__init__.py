"""Scores, confidence intervals and paired tests of predictions. Uses numpy and scipy only: no images, no model, no torch."""
