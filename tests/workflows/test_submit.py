"""The verb `submit`: the form of the sample is kept, the answers are those of `predict`, what is not clear is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tellapart as ta
from tellapart.data.cache import CorruptImages
from tellapart.errors import DataError
from tellapart.inference.context import Settings
from tellapart.workflows.submit import submit

LEVELS = {"editada": 60, "real": 180}


def _picture(path: Path, level: int, seed: int) -> None:
    pixels = (level + np.random.default_rng(seed).normal(0, 30, (12, 12, 3))).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ta.Run, Settings, Path]:
    top = tmp_path_factory.mktemp("submit")
    for name, level in LEVELS.items():
        for i in range(15):
            _picture(top / "data" / name / f"{i}.png", level, i)
    for i in range(6):
        _picture(top / "test" / f"img_{i}.png", list(LEVELS.values())[i % 2], 100 + i)
    settings = Settings(runs=top / "runs", device="cpu")
    return ta.train(top / "data", "knn", settings=settings), settings, top / "test"


@pytest.fixture
def expected(trained: tuple[ta.Run, Settings, Path]) -> pd.DataFrame:
    """What `predict` says, by file stem."""
    run, settings, test = trained
    from tellapart.data.listing import from_paths

    found = ta.predict(run, from_paths([test], run.classes), settings=settings)
    stems = [Path(name).stem for name in found.ids]
    return pd.DataFrame(found.proba, columns=list(found.classes), index=stems).assign(
        answer=np.array(found.classes)[found.predicted]
    )


def _sample(path: Path, header: str, rows: list[str], end: str = "\n", mark: str = "") -> Path:
    path.write_bytes((mark + end.join([header, *rows]) + end).encode())
    return path


def _submit(trained: tuple[ta.Run, Settings, Path], sample: Path, **more):
    run, settings, test = trained
    return submit(run, test=more.pop("test", test), sample=sample, out=sample.with_name("out.csv"), settings=settings, **more)


ORDER = [4, 0, 5, 2, 1, 3]


@pytest.mark.parametrize("ending", ["", ".png"])
def test_labels_by_another_name_in_the_order_of_the_sample(trained, expected, tmp_path, ending) -> None:
    sample = _sample(tmp_path / "s.csv", "id,label", [f"img_{i}{ending},1" for i in ORDER])
    done = _submit(trained, sample, mapping={"real": "1", "editada": "0"})
    rows = list(csv.reader(done.path.read_text().splitlines()))
    assert rows[0] == ["id", "label"]
    want = ["1" if expected.answer[f"img_{i}"] == "real" else "0" for i in ORDER]
    assert rows[1:] == [[f"img_{i}{ending}", answer] for i, answer in zip(ORDER, want, strict=True)]
    assert (done.kind, done.rows, done.unasked) == ("label", 6, 0)
    assert done.counts == {name: want.count(name) for name in done.counts} and sum(done.counts.values()) == 6


def test_one_probability(trained, expected, tmp_path) -> None:
    sample = _sample(tmp_path / "s.csv", "id;p", [f"img_{i};0.5" for i in ORDER[:4]], end="\r\n", mark="\ufeff")
    done = _submit(trained, sample)
    run = trained[0]
    assert run.positive == "editada" and done.asked == "the probability of editada" and done.unasked == 2
    assert done.path.read_bytes().startswith("\ufeffid;p\r\nimg_4;".encode()) and done.path.read_bytes().endswith(b"\r\n")
    found = pd.read_csv(done.path, sep=";", encoding="utf-8-sig", index_col="id")["p"]
    np.testing.assert_allclose(found, expected.loc[found.index, "editada"], atol=5e-7)


def test_what_comes_before_the_header_is_kept(trained, tmp_path) -> None:
    sample = _sample(tmp_path / "s.csv", "sep=;\r\n\r\nid;p", ["img_4;0.5", "img_1;0.5"], end="\r\n", mark="\ufeff")
    written = _submit(trained, sample).path.read_bytes()
    assert written.startswith("\ufeffsep=;\r\n\r\nid;p\r\nimg_4;".encode()) and written.count(b"\r\n") == 5


def test_a_column_for_each_class(trained, expected, tmp_path) -> None:
    sample = _sample(tmp_path / "s.csv", "real,ID,fake", [f"0,img_{i},1" for i in ORDER])
    done = _submit(trained, sample, mapping={"editada": "fake"}, sample_id_column="ID")
    found = pd.read_csv(done.path, index_col="ID")
    assert list(pd.read_csv(done.path).columns) == ["real", "ID", "fake"] and done.kind == "classes"
    np.testing.assert_allclose(found[["real", "fake"]], expected.loc[found.index, ["real", "editada"]], atol=5e-7)


def test_through_a_table_of_test_images_with_paths_elsewhere(trained, tmp_path) -> None:
    table = tmp_path / "test.csv"
    table.write_text("image\n" + "\n".join(f"C:\\data\\test\\img_{i}.png" for i in range(6)))
    sample = _sample(tmp_path / "s.csv", "image,label", [f"img_{i},real" for i in (3, 1)])
    done = _submit(trained, sample, test=table, images=trained[2])
    assert [row.partition(",")[0] for row in done.path.read_text().splitlines()] == ["image", "img_3", "img_1"]
    assert done.unasked == 4


@pytest.mark.parametrize(
    ("header", "rows", "more", "said"),
    [
        ("id,label", ["img_0,7"], {}, "s.csv:2: the column 'label' holds '7', which is none of editada, real"),
        ("id,label", ["img_0,"], {}, "the column 'label' is empty"),
        ("id,label", ["img_0,real", "img_0,real"], {}, "s.csv:3: duplicate id 'img_0' in the column 'id', first in"),
        ("id,label", ["img_0,real", "nobody,real", "x,real"], {}, "s.csv:3: 'nobody' fits no image in"),
        ("id,label", ["img_0,real", "img_0.png,real"], {}, "s.csv:3: 'img_0.png' is the same image as 'img_0' in"),
        ("id,real,cat", ["img_0,0,1"], {}, "the column 'cat' is no class of the run and there is no column for 'editada'"),
        ("id", ["img_0"], {}, "expected an id and an answer column, found 'id' alone"),
        ("id,label", [], {}, "a header but no rows"),
        ("id,label", ["img_0,real"], {"mapping": {"rael": "1"}}, "did you mean 'real'"),
        ("id,label", ["img_0,real"], {"sample_id_column": "name"}, "unknown column 'name'"),
        ("id,a,b", ["img_0,real,1"], {"kind": "label"}, "expected one answer column"),
    ],
)
def test_what_is_not_clear_is_refused_and_nothing_written(trained, tmp_path, header, rows, more, said) -> None:
    sample = _sample(tmp_path / "s.csv", header, rows)
    with pytest.raises(DataError) as caught:
        _submit(trained, sample, **more)
    assert said in str(caught.value), str(caught.value)
    assert not (tmp_path / "out.csv").exists()


def test_an_image_that_cannot_be_read_is_named(trained, tmp_path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "img_0.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    sample = _sample(tmp_path / "s.csv", "id,label", ["img_0,real"])
    with pytest.raises(CorruptImages, match="img_0"):
        _submit(trained, sample, test=tmp_path / "test")
    assert not (tmp_path / "out.csv").exists()


def test_classes_of_one_name_are_added(tmp_path) -> None:
    """Three generators, one of them to be called fake with another: the sum decides."""
    for c, level in enumerate((40, 120, 200)):
        for i in range(12):
            _picture(tmp_path / "data" / "abc"[c] / f"{i}.png", level, i)
    for i in range(4):
        _picture(tmp_path / "test" / f"{i}.png", 80 + 40 * i, 50 + i)
    settings = Settings(runs=tmp_path / "runs", device="cpu")
    run = ta.train(tmp_path / "data", "knn", settings=settings)
    sample = _sample(tmp_path / "s.csv", "id,x,y", [f"{i},0,0" for i in range(4)])
    done = submit(
        run, test=tmp_path / "test", sample=sample, out=tmp_path / "o.csv", mapping={"a": "x", "b": "x", "c": "y"},
        settings=settings,
    )  # fmt: skip
    from tellapart.data.listing import from_paths

    said = ta.predict(run, from_paths([tmp_path / "test"], run.classes), settings=settings)
    found = pd.read_csv(done.path, index_col="id")
    np.testing.assert_allclose(found["x"], said.proba[:, 0] + said.proba[:, 1], atol=1e-6)
    np.testing.assert_allclose(found["y"], said.proba[:, 2], atol=1e-6)
