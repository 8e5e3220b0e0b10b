"""A sample column that bears the name of a class gets the probability of that class; what is ambiguous is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tellapart as ta
from tellapart.errors import DataError
from tellapart.inference.context import Settings
from tellapart.workflows.submit import submit


def _picture(path: Path, level: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 90, (8, 8, 3), np.uint8) + np.uint8(level)).save(path)


def _trained(top: Path, classes: tuple[str, str]) -> tuple[ta.Run, Settings]:
    for c, name in enumerate(classes):
        for i in range(12):
            _picture(top / "data" / name / f"{i}.png", 120 * c, 100 * c + i)
    for i in range(4):  # even: the first class, odd: the second
        _picture(top / "t" / f"{i}.png", 120 * (i % 2), 900 + i)
    settings = Settings(runs=top / "runs", device="cpu")
    return ta.train(top / "data", "knn", settings=settings), settings


@pytest.fixture(scope="module", params=[("real", "fake"), ("0", "1"), ("cat", "dog")], ids="/".join)
def trained(request, tmp_path_factory):
    top = tmp_path_factory.mktemp("case04")
    run, settings = _trained(top, request.param)
    return run, settings, top, request.param


def _filled(trained, header: str, cell: str = "0.5", **more) -> pd.DataFrame:
    run, settings, top, _ = trained
    (top / "s.csv").write_text(header + "\n" + "".join(f"{i},{cell}\n" for i in range(4)))
    done = submit(run, test=top / "t", sample=top / "s.csv", out=top / "o.csv", settings=settings, **more)
    return pd.read_csv(done.path, index_col=0)


def _tells(found: pd.Series, classes, name: str) -> bool:
    """Whether a column of probabilities is high exactly for the images of class `name`."""
    return [p > 0.5 for p in found] == [classes[i % 2] == name for i in range(4)]


def test_a_column_with_the_name_of_a_class_gets_its_probability(trained) -> None:
    *_, classes = trained
    for name in classes:
        for column in (name, name.upper(), f" {name}"):
            assert _tells(_filled(trained, f"id,{column}").iloc[:, 0], classes, name), column


def test_so_does_one_with_the_name_that_the_map_gives(trained) -> None:
    *_, classes = trained
    for name in classes:
        assert _tells(_filled(trained, "id,target", mapping={name: "target"})["target"], classes, name)


def test_a_map_to_0_and_1_says_which_class_is_1(trained) -> None:
    *_, classes = trained
    for one, zero in (classes, classes[::-1]):
        assert _tells(_filled(trained, "id,p", mapping={one: "1", zero: "0"})["p"], classes, one)


def test_another_name_means_the_positive_class_and_is_refused_without_one(trained) -> None:
    *_, classes = trained
    if classes == ("cat", "dog"):
        with pytest.raises(DataError, match="whose probability the column 'p' holds is not clear") as caught:
            _filled(trained, "id,p")
        assert caught.value.hint == "name the class by the column: --map cat=p or --map dog=p"
    else:
        assert _tells(_filled(trained, "id,p")["p"], classes, "fake" if "fake" in classes else "1")


def test_a_class_column_of_integers_could_be_either(trained) -> None:
    *_, classes = trained
    with pytest.raises(DataError, match="has the name of a class and holds '0': a class name or a probability"):
        _filled(trained, f"id,{classes[0]}", cell="0")
    assert _tells(_filled(trained, f"id,{classes[0]}", cell="0", kind="probability")[classes[0]], classes, classes[0])


def test_columns_for_both_classes_in_any_order_and_spelling(trained) -> None:
    *_, classes = trained
    second, first = classes[1].upper(), f"{classes[0]}_"
    run, settings, top, _ = trained
    (top / "s.csv").write_text(f"id,{second},{first}\n" + "".join(f"{i}.png,0,0\n" for i in range(4)))
    done = submit(run, test=top / "t", sample=top / "s.csv", out=top / "o.csv", settings=settings)
    found = pd.read_csv(done.path, index_col=0)
    assert _tells(found[second], classes, classes[1]) and _tells(found[first], classes, classes[0])
