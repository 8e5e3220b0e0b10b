"""One module per command: `tellapart compare` is `workflows/compare.py`. Also the Python functions of that name."""
