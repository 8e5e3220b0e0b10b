"""Labeled pseudo-fakes, made of real pictures only. One file a forgery."""
