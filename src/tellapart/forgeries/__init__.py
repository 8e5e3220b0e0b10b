"""Forgeries: methods that make labeled pseudo-fakes from real images, one file each."""
