"""`fuzz.py` runs in processes of its own, and what it imports is no module of tests; `seeds` may be imported here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore = ["fuzz.py", "mutations.py", "seeds.py"]
