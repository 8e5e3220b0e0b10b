"""Descriptors for classical classifiers, one file each, and the pipeline that standardizes and reduces them."""
