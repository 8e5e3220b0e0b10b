"""Placeholders that are no class name: no direction is proposed, and a map that names only some classes is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.errors import DataError
from tellapart.inference.context import Settings
from tellapart.workflows.submit import submit


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    top = tmp_path_factory.mktemp("case05")
    for c, name in enumerate(("real", "fake")):
        for i in range(12):
            path = top / "data" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(100 * c + i).integers(0, 90, (8, 8, 3), np.uint8) + np.uint8(120 * c)).save(
                path
            )
    (top / "t").mkdir()
    for i in range(4):
        (top / "t" / f"{i}.png").write_bytes((top / "data" / ("real", "fake")[i % 2] / f"{i}.png").read_bytes())
    settings = Settings(runs=top / "runs", device="cpu")
    return ta.train(top / "data", "knn", settings=settings), settings, top


def _submit(trained, cells: list[str], **more) -> list[str]:
    run, settings, top = trained
    (top / "o.csv").unlink(missing_ok=True)
    (top / "s.csv").write_text("id,label\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    done = submit(run, test=top / "t", sample=top / "s.csv", out=top / "o.csv", settings=settings, **more)
    return [line.partition(",")[2] for line in Path(done.path).read_text().splitlines()[1:]]


@pytest.mark.parametrize("cells", [["0"] * 4, ["1"] * 4, ["0", "1", "0", "1"]])
def test_no_direction_is_proposed(trained, cells) -> None:
    with pytest.raises(DataError) as caught:
        _submit(trained, cells)
    hint = str(caught.value.hint)
    assert "--map fake=NAME,real=NAME" in hint and "--as probability" in hint
    assert not any(wrong in hint for wrong in ("=0", "=1"))
    assert _submit(trained, cells, mapping={"fake": "1", "real": "0"}) == ["0", "1", "0", "1"]
    assert [float(cell) > 0.5 for cell in _submit(trained, cells, kind="probability")] == [False, True, False, True]


@pytest.mark.parametrize("kind", [None, "label"])
@pytest.mark.parametrize("mapping", [{"fake": "0"}, {"real": "0"}])
def test_a_map_of_some_classes_is_refused(trained, mapping, kind) -> None:
    with pytest.raises(
        DataError, match="--map leaves out (real|fake), which the column 'label' does not hold either"
    ) as caught:
        _submit(trained, ["0"] * 4, mapping=mapping, kind=kind)
    (known, other) = (*mapping, *({"real", "fake"} - set(mapping)))
    assert str(caught.value.hint).endswith(f"--map {known}=0,{other}=NAME")
    assert not (trained[2] / "o.csv").exists()


def test_a_map_of_some_classes_will_do_where_the_sample_holds_the_others(trained) -> None:
    assert _submit(trained, ["real", "F", "F", "F"], mapping={"fake": "F"}) == ["real", "F", "real", "F"]


def test_another_spelling_is_used_where_the_sample_shows_it_for_every_class(trained) -> None:
    assert _submit(trained, ["REAL", "Fake", "REAL", "REAL"]) == ["REAL", "Fake", "REAL", "Fake"]
    with pytest.raises(DataError, match="holds 'REAL', which is none of fake, real"):
        _submit(trained, ["REAL"] * 4)
