"""Aligned copies of data sets: the files of all classes have the same size, encoder and no metadata."""
