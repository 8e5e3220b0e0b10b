"""`fuzz.py` and what it imports run in processes of their own: they are no modules of tests."""

collect_ignore = ["fuzz.py", "mutations.py", "seeds.py"]
