"""From files to tables and pixels: scan, split, decode, cache."""
