"""Predict images with finished runs: sources of images, predictors, and files of predictions."""
