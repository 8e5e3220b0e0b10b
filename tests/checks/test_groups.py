"""Without a group column, the column that explains the pairs of duplicates is offered, and the offer works."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tellapart as ta
from tellapart.checks.groups import explaining_column
from tellapart.data.memory import from_arrays
from tellapart.workflows.check import check

PAIR_CHECKS = ["groups", "duplicates", "near_duplicates"]


@pytest.fixture
def scenes(tmp_path, tiles):
    """Ten scenes: of each a real image, and an edited one of the other class; the folder names the scene."""
    for n, tile in enumerate(tiles[:20:2]):
        edited = tile.copy()
        edited[40:70, 40:70] = tile[70:100, 10:40]
        for label, pixels in (("real", tile), ("edited", edited)):
            folder = tmp_path / "photos" / f"scene{n}" / label
            folder.mkdir(parents=True)
            Image.fromarray(pixels).save(folder / f"{label}.png")
    return tmp_path / "photos"


def of(report, name):
    return next(one.result for one in report.checks if one.name == name)


def test_folders_that_explain_the_pairs_are_offered_and_the_offer_leads_out(scenes):
    report = check(scenes, only=PAIR_CHECKS)
    offered, pairs = of(report, "groups"), of(report, "near_duplicates").details["pairs"]
    assert pairs >= 9 and offered.severity == "notice" and offered.details["column"] == "source"
    assert f"{pairs} of {pairs} pairs" in offered.summary and "'source' (random pairs: 5.3%)" in offered.summary
    assert "`--group source`" in offered.advice and not offered.is_issue.any()
    grouped = of(check(ta.scan(scenes, group="source"), only=PAIR_CHECKS), "groups")
    assert grouped.severity == "fine" and "10 groups" in grouped.summary


def test_a_column_of_a_table_is_offered_by_its_own_name(scenes, tmp_path):
    files = sorted(scenes.rglob("*.png"))
    table = pd.DataFrame({"path": [str(f.relative_to(scenes)) for f in files], "label": [f.stem for f in files]})
    table["width"] = [f.parts[-3] for f in files]  # a name that means something else in a table of ours
    table["camera"] = "one"
    table.to_csv(scenes / "train.csv", index=False)
    found = of(check(scenes / "train.csv", only=PAIR_CHECKS), "groups")
    assert found.details["column"] == "width" and "--group width" in found.advice
    grouped = check(ta.scan(scenes / "train.csv", group="width"), only=["groups"])
    assert of(grouped, "groups").severity == "fine"


def test_nothing_is_offered_without_the_pairs(scenes):
    alone = of(check(scenes, only=["groups"]), "groups")
    assert alone.severity == "skipped" and alone.summary == "no group column; name one with --group COLUMN"


def table_with(**columns):
    count = len(next(iter(columns.values())))
    table = from_arrays(np.zeros((count, 8, 8, 3), np.uint8), [n // 20 for n in range(count)], ["a", "b"])
    return type(table)(table.frame.assign(**columns), table.classes, table.root)


def test_only_a_column_that_explains_more_than_chance_counts():
    """40 images, 20 of each class; pairs of neighbors."""
    pairs = np.array([(n, n + 1) for n in range(0, 40, 2)])
    by_pair, by_class = [f"v{n // 2}" for n in range(40)], [f"k{n // 20}" for n in range(40)]
    assert explaining_column(table_with(species=by_class), pairs) is None
    assert explaining_column(table_with(file=[f"f{n}" for n in range(40)]), pairs) is None
    assert explaining_column(table_with(empty=[""] * 40), pairs) is None
    found = explaining_column(table_with(species=by_class, video=by_pair, four=[f"w{n // 4}" for n in range(40)]), pairs)
    assert found is not None and (found.name, found.agree, found.pairs) == ("video", 20, 20)
    assert found.by_chance == pytest.approx(20 * 2 / (2 * 20 * 19))
    assert explaining_column(table_with(video=by_pair), pairs[:4]) is None
    crossed = np.array([(n, (n + 7) % 40) for n in range(20)])
    assert explaining_column(table_with(video=by_pair), crossed) is None
