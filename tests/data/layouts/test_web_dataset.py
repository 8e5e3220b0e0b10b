"""WebDataset: loose samples and shards."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from PIL import Image

from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (seed, 0, 0)).save(file, "PNG")
    return file.getvalue()


def shard(path, first, labels, kind="cls", mode="w"):
    """A tar of samples: `0000.png` and its label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for number, label in enumerate(labels, start=first):
            content = json.dumps({"label": label, "width": 4}) if kind == "json" else str(label)
            for ending, data in (("png", png(number)), (kind, content.encode())):
                info = tarfile.TarInfo(f"{number:04d}.{ending}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def labels(table):
    return [table.classes[n] if n >= 0 else None for n in table.labels]


@pytest.mark.parametrize("kind", ["cls", "json", "txt"])
@pytest.mark.parametrize(("name", "mode"), [("one.tar", "w"), ("one.tar.gz", "w:gz")])
def test_one_shard(tmp_path, monkeypatch, kind, name, mode):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    path = shard(tmp_path / "d" / name, 0, ["cat", "dog", "cat", "dog"], kind, mode)
    for given in (path, path.parent):
        table = scan(given)
        assert labels(table) == ["cat", "dog", "cat", "dog"] and not table.problems
        with ImageReader(table) as reader:
            assert [reader.get(locator) for locator in table.paths] == [png(i) for i in range(4)]


def test_shards_of_splits(tmp_path):
    shard(tmp_path / "train-000000.tar", 0, [0, 1]), shard(tmp_path / "train-000001.tar", 0, [1, 0])
    shard(tmp_path / "val-000000.tar", 0, [0, 1])
    table = scan(tmp_path)
    assert table.frame["split"].tolist() == ["train"] * 4 + ["valid"] * 2 and len(set(table.ids)) == 6
    assert "3 shards" in table.layout and table.ids[2] == "train-000001/0000"
    some = scan(f"{tmp_path}/train-{{000000..000001}}.tar")
    assert len(some) == 4 and "split" not in some.frame
    assert len(scan(f"{tmp_path}/{{train,val}}-000000.tar")) == 4


def test_shards_that_are_not_there(tmp_path):
    shard(tmp_path / "a-00.tar", 0, [0, 1])
    with pytest.raises(DataError, match=r"a-01\.tar and 1 more of 3 shards: not found"):
        scan(f"{tmp_path}/a-{{00..02}}.tar")


def test_loose_samples(tree, pack):
    top = tree("x/1.png", "x/2.png", "3.png", files={"x/1.cls": "0\n", "x/2.cls": "1", "notes.md": "x"})
    for path in (top, pack(top, "zip"), pack(top, "tar")):
        table = scan(path)
        assert labels(table) == ["0", "1"] and [(p.kind, p.where) for p in table.problems] == [
            ("unlabeled row", f"{table.paths[0].rpartition('x/')[0]}3.png")
        ]


def test_masks_are_no_samples_of_their_own(tree):
    top = tree("1.png", "1.mask.png", "2.png", files={"1.cls": "0", "2.cls": "1"})
    table = scan(top)
    assert len(table) == 2 and [(p.kind, p.where) for p in table.problems] == [("other file", "1.mask.png")]
    two = scan(tree("1.jpg", "1.png", "2.png", files={"1.cls": "0", "2.cls": "1"}))
    assert len(two) == 2 and [p.kind for p in two.problems] == ["ambiguous file"]


def test_keys_of_json(tree):
    def text(label, **more):
        return json.dumps({"label": label, **more})

    top = tree("1.png", "2.png", files={"1.json": text("a", target=1), "2.json": text("b", target=2)})
    with pytest.raises(DataError, match="the label could be the JSON key 'label' or 'target'") as caught:
        scan(top)
    assert "--label-column label" in caught.value.hint
    assert labels(scan(top, label_column="label")) == ["a", "b"] and labels(scan(top, label_column="target")) == ["1", "2"]
    with pytest.raises(DataError, match="holds a list"):
        scan(tree("1.png", "2.png", files={"1.json": text("a"), "2.json": text(["b"])}))
    with pytest.raises(DataError, match=r"2\.json: not JSON"):
        scan(tree("1.png", "2.png", files={"1.json": text("a"), "2.json": "{"}))


def test_captions_are_not_classes(tree):
    images = [f"{c}/{i}.png" for c in "ab" for i in range(4)]
    top = tree(*images, files={f"{name[:-4]}.txt": f"a picture of {name}" for name in images})
    assert scan(top).classes == ("a", "b")


def test_beside_class_folders_text_files_are_a_second_source(tree):
    images = [f"{c}/{i}.png" for c in "ab" for i in range(4)]
    top = tree(*images, files={f"{name[:-4]}.txt": ("cat", "dog")[int(name[2]) % 2] for name in images})
    with pytest.raises(DataError, match="could be in the folder names or in the .txt files") as caught:
        scan(top)
    assert "--label-column txt" in caught.value.hint
    assert scan(top, label_column="txt").classes == ("cat", "dog") and scan(top, label_column="folder").classes == ("a", "b")


def test_an_archive_of_shards_is_named(tmp_path, pack):
    shard(tmp_path / "data" / "a-00.tar", 0, [0, 1])
    with pytest.raises(DataError, match=r"no images in it \(files there: 1 \.tar\)") as caught:
        scan(pack(tmp_path / "data", "zip"))
    assert caught.value.hint.startswith("unpack ")
