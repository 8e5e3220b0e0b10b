"""Run folders written by hand, in the format of `runs.store`: nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tellapart.io import write_json
from tellapart.metrics.score_all import score_all
from tellapart.runs import ledger
from tellapart.runs.store import Run, mark_done, next_evaluation, scores_to_dict
from tellapart.types import Predictions

SIZES = {"train": 120, "valid": 60, "test": 100}


def answers(split: str, right: int | np.ndarray, classes: tuple[str, ...], groups: int = 0) -> Predictions:
    """Predictions for the whole split, of which the first `right` (or those of the mask) are right."""
    n = SIZES[split]
    labels = np.arange(n) % len(classes)
    mask = np.arange(n) < right if isinstance(right, int) else right
    given = np.where(mask, labels, (labels + 1) % len(classes))
    proba = np.full((n, len(classes)), 0.4 / len(classes), dtype=np.float32)
    proba[np.arange(n), given] += 0.6
    ids = np.array([f"{split}{i}" for i in range(n)], dtype=object)
    names = np.array([f"scene{i % groups}" for i in range(n)], dtype=object) if groups else None
    return Predictions(ids, proba, labels, classes, groups=names)


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Run]:
    """Write a finished run: `write_run("svm", valid=50, test=80)`; without `test` the test part stays closed."""

    def write(
        name: str,
        *,
        valid: int | np.ndarray = 40,
        test: int | np.ndarray | None = None,
        family: str | None = None,
        classes: tuple[str, ...] = ("real", "fake"),
        seed: int = 0,
        groups: int = 0,
        session: str = "one",
        data: dict[str, Any] | None = None,
        cost: dict[str, Any] | None = None,
    ) -> Run:
        folder = tmp_path / "runs" / f"{name}-{seed:04x}"
        (folder / "predictions").mkdir(parents=True)
        recipe = {"classifier": {"family": family or name}, "seed": seed}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        write_json(folder / "environment.json", {"device": "cpu"})
        positive = "fake" if "fake" in classes else None
        share = {split: {c: n // len(classes) for c in classes} for split, n in SIZES.items()}
        content = {"recipe_name": name, "fingerprint": "d474", "split_fingerprint": "5911", "root": "photos", "name": "photos"}
        content |= {"layout": "one folder per class", "classes": list(classes), "positive": positive}
        write_json(
            folder / "data.json", content | {"counts": share, "problems": [], "duplicates": dict(NO_TWINS)} | (data or {})
        )
        scores: dict[str, Any] = {}
        for split, right in (("train", 100), ("valid", valid)):
            predictions = answers(split, right, classes, groups)
            predictions.to_parquet(folder / "predictions" / f"{split}.parquet")
            scores[split] = scores_to_dict(score_all(predictions, positive))
        spent = {"fit_seconds": 12.5, "images_per_second": 900.0, "parameters": 62_006, "pretrained": "no", "bytes": 10}
        write_json(folder / "scores.json", scores | {"cost": spent | {"notes": []} | (cost or {})})
        run = mark_done(folder)
        if test is not None:
            open_test(run, test, groups, session)
        return run

    return write


def open_test(run: Run, right: int | np.ndarray, groups: int = 0, session: str = "one") -> None:
    """One opening of the test part, entered in the ledger."""
    folder = next_evaluation(run)
    predictions = answers("test", right, run.classes, groups)
    predictions.to_parquet(folder / "predictions" / "test.parquet")
    scores = scores_to_dict(score_all(predictions, run.positive))
    content = {"test": scores, "cost": {"images_per_second": 1234.5}, "opened": "2026-11-03T10:05:00Z"}
    write_json(folder / "scores.json", content)
    (folder / "done").write_text("", encoding="utf-8")
    ledger.record(run.runs, run.id, run.data["fingerprint"], len(predictions), "compare", session)


NO_TWINS = {"images": 0, "across_splits": 0, "across_classes": 0, "examples": []}


@pytest.fixture
def reopen() -> Callable[..., None]:
    """Open the test part of a run once more: `reopen(run, 90, session="two")`."""
    return open_test
