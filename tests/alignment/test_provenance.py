"""From a copy back to its source, and what is seen when one of them is no longer what it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.alignment.plan import AlignOptions
from tellapart.alignment.provenance import trace_origins
from tellapart.errors import DataError
from tellapart.workflows.align import align


@pytest.mark.parametrize("encoder", ["png", "jpeg"])
def test_every_image_is_found_again(plant, tmp_path: Path, encoder) -> None:
    source = tmp_path / "data"
    shutil.copytree(plant(12), source)
    done = align(source, tmp_path / "out", options=AlignOptions(encoder, (70, 90)))
    found = trace_origins(tmp_path / "out")
    assert len(found) == done.written and not any(one.fault for one in found)
    first, second, third, fourth = found[:4]
    with Image.open(tmp_path / "out" / first.image) as image:
        changed = np.asarray(image).copy()
        changed[0, 0] ^= 1
        Image.fromarray(changed).save(tmp_path / "out" / first.image, **({"compress_level": 0} if encoder == "png" else {}))
    (source / second.source).write_bytes((source / second.source).read_bytes() + b" ")
    (source / third.source).unlink()
    (tmp_path / "out" / fourth.image).unlink()
    faults = [one.fault for one in trace_origins(tmp_path / "out")]
    assert faults[:2] == ["the image has changed", "the source has changed"]
    assert faults[2].startswith("the source is missing") and faults[3].startswith("the image is missing")
    assert not any(faults[4:])
    source.rename(tmp_path / "moved")
    assert all("missing" in one.fault for one in trace_origins(tmp_path / "out"))
    assert [one.fault for one in trace_origins(tmp_path / "out", root=tmp_path / "moved")] == faults


def test_a_box_that_is_wrong_is_seen(plant, tmp_path: Path) -> None:
    align(plant(12), tmp_path / "out", options=AlignOptions(size=(16, 16), grid="random"))
    path = tmp_path / "out" / "manifest.csv"
    lines = path.read_text().splitlines()
    place = lines[0].split(",").index("left")
    cells = lines[1].split(",")
    cells[place] = str(int(cells[place]) ^ 1)
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]))
    faults = [one.fault for one in trace_origins(tmp_path / "out")]
    assert faults[0] == "the image does not contain the pixels of its box" and not any(faults[1:])


def test_what_is_no_copy_is_said(plant, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a complete copy made by align"):
        trace_origins(plant(12))
    noise = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), dtype=np.uint8)
    align(ta.from_arrays(noise, ["a", "b"] * 4), tmp_path / "out")
    with pytest.raises(DataError, match="images in memory"):
        trace_origins(tmp_path / "out")
    (tmp_path / "out" / "manifest.csv").write_text("id,label\n")
    with pytest.raises(DataError, match="manifest.csv: cannot be read \\(no column digest"):
        trace_origins(tmp_path / "out")
