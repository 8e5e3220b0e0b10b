"""Explainers: methods that map the importance of each pixel of an image, one file each."""
