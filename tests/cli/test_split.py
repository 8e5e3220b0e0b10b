"""`tellapart split`: what it prints about images that it could not read."""

from __future__ import annotations

import json

import pandas as pd


def test_images_that_cannot_be_read_are_named_and_left_out(tell, photos):
    whole = (photos / "dark" / "00.png").read_bytes()
    (photos / "dark" / "half.png").write_bytes(whole[: len(whole) // 2])
    (photos / "light" / "empty.png").write_bytes(b"")
    found = tell("split", photos, "-o", "split.csv", "-q")
    assert found.code == 0
    assert "left out: 2 of 42 images (dark 1, light 1): corrupt image 1, empty file 1" in found.out
    assert "dark/half.png: the file is truncated" in found.out and "light/empty.png: the file has no bytes" in found.out
    assert not pd.read_csv("split.csv")["path"].str.contains("half|empty").any()
    told = json.loads(tell("split", photos, "-o", "again.csv", "-q", "--json").out)
    assert told["left_out"]["images"] == 2
    assert {problem["kind"] for problem in told["problems"]} == {"corrupt image", "empty file"}
