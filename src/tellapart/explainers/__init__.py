"""Where a classifier looks: one file for each method that draws a map of importance over a picture."""
