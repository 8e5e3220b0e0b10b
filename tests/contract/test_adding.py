"""To add a classifier, descriptor, augmentation or check is to add one code file and one page: nothing else is edited."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from tellapart.plugins import promises

ROOT = Path(__file__).parents[2]


class Plugin(NamedTuple):
    """One class: the name of its kind in the registry, and among the promises, its own name and its file."""

    kind: str
    promises: str
    cls: str
    code: str


#: Tests of the documentation as a whole that a new page could break.
DOCUMENTED = ("every_name_has_a_page", "every_option_has_a_table", "every_page_can_be_reached", "has_its_picture", "modules")
#: What is added, by name.
ADDED = {
    "nearest_mean": Plugin(
        "classifiers",
        "classifier",
        "NearestMean",
        '''"""Nearest class mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy.special import softmax

from tellapart.classifiers.feature_classifier import FeatureClassifier
from tellapart.io import write_arrays


class NearestMean(FeatureClassifier):
    """softmax(−distance to each class mean)."""

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        self.seen = np.unique(y)
        self.means = np.stack([X[y == label].mean(axis=0) for label in self.seen])

    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        proba = np.zeros((len(X), len(self.classes)))
        proba[:, self.seen] = softmax(-np.linalg.norm(X[:, None] - self.means, axis=2), axis=1)
        return proba

    @property
    def parameters(self) -> int:
        """Number of values of the means."""
        return int(self.means.size)

    def _save_model(self, folder: Path) -> None:
        write_arrays(folder / "weights.safetensors", {"means": self.means, "seen": self.seen})

    def _load_model(self, folder: Path) -> None:
        arrays = load_file(folder / "weights.safetensors")
        self.means, self.seen = arrays["means"], arrays["seen"]
''',
    ),
    "mean_level": Plugin(
        "features",
        "descriptor",
        "MeanLevel",
        '''"""Mean of each channel."""

from __future__ import annotations

import numpy as np

from tellapart.features.base import Descriptor


class MeanLevel(Descriptor):
    """D = channels."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, C) float32."""
        return images.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
''',
    ),
    "film_negative": Plugin(
        "augmentations",
        "augmentation",
        "FilmNegative",
        '''"""Invert all gray values."""

from __future__ import annotations

import torch
from torch import Tensor

from tellapart.augmentations.base import Augmentation


class FilmNegative(Augmentation):
    """255 − value."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → the same shape."""
        return 255 - images
''',
    ),
    "black_frames": Plugin(
        "checks",
        "health check",
        "BlackFrames",
        '''"""Images that are black."""

from __future__ import annotations

from typing import final

import numpy as np

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, HealthCheck, passed


@final
class BlackFrames(HealthCheck):
    """Find images without light."""

    def _run(self, view: DatasetView) -> CheckResult:
        black = (view.thumbnails.mean(axis=(1, 2, 3)) < 2) & view.readable
        if not black.any():
            return passed(len(black), "no image is black")
        reasons = {row: "it is black" for row in np.flatnonzero(black).tolist()}
        summary = f"{black.sum():,} of {len(black):,} images are black"
        return CheckResult("problem", summary, "Remove them.", black.astype(np.float32), black, reasons)
''',
    ),
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what matters of this checkout, with one new file and one new page of each kind."""
    copy = tmp_path_factory.mktemp("checkout")
    left_out = shutil.ignore_patterns("__pycache__", Path(__file__).name)  # this file would copy the copy, and so on
    for folder in ("src/tellapart", "tests/contract", "docs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=left_out)
    for file in ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        shutil.copy(ROOT / file, copy / file)
    for file in ("conftest.py", "test_docs.py", "test_layers.py"):
        shutil.copy(ROOT / "tests" / file, copy / "tests" / file)
    for name, (kind, _, cls, code) in ADDED.items():
        (copy / "src" / "tellapart" / kind / f"{name}.py").write_text(code, encoding="utf-8")
        Image.new("RGB", (8, 8)).save(copy / "docs" / kind / f"{name}.png")
        table = f"<!-- generated: options tellapart.{kind}.{name}:{cls}.Options -->\n<!-- end -->"
        page = f"# {name}\n\nOne sentence.\n\n![an example]({name}.png)\n\n{table}\n"
        (copy / "docs" / kind / f"{name}.md").write_text(page, encoding="utf-8")
    return copy


def _python(checkout: Path, *arguments: str) -> str:
    """Standard output of Python in the copy; the test fails if it fails."""
    surroundings = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, *arguments]
    found = subprocess.run(command, cwd=checkout, env=surroundings, capture_output=True, text=True, timeout=800, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def passed(checkout: Path) -> list[str]:
    """The tests of the added names that pass in the copy, after `docs/generate.py`; none may fail."""
    _python(checkout, "docs/generate.py")
    files, chosen = ("tests/contract", "tests/test_docs.py"), ("-k", " or ".join([*ADDED, *DOCUMENTED]))
    shown = _python(checkout, "-m", "pytest", "-q", "-rp", "-p", "no:cacheprovider", *files, *chosen)
    return re.findall(r"^PASSED (.+)$", shown, re.MULTILINE)


def test_what_is_added_is_registered(checkout: Path) -> None:
    program = "from tellapart import registry; print(registry.__file__, *(registry.names(kind) for kind in registry.KINDS))"
    shown = _python(checkout, "-c", program)
    assert shown.startswith(str(checkout))
    assert all(f"'{name}'" in shown for name in ADDED)


@pytest.mark.parametrize("name", ADDED)
def test_what_is_added_is_tested(passed: list[str], name: str) -> None:
    """Every promise of its kind, by the contract tests."""
    kept = [test for test in passed if f"[{name}-" in test and "tests/contract/" in test]
    assert len(kept) >= len(promises(ADDED[name].promises))


@pytest.mark.parametrize("name", ADDED)
def test_what_is_added_is_documented(passed: list[str], name: str) -> None:
    """The tests of the documentation ask for the page and nothing else."""
    assert any(f"[docs/{ADDED[name].kind}/{name}.md]" in test for test in passed)
    assert all(any(test in one for one in passed) for test in DOCUMENTED)
