"""A copy of a data set in which files of all classes are alike: one size, one encoder, no metadata."""
