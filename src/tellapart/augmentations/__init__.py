"""Augmentations of training images, one file each: uint8 batch in, uint8 batch out."""
