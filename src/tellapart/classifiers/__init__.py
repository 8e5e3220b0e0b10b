"""Classifier families, one file each. The contract is `base.py`; the file name is the name in a recipe."""
