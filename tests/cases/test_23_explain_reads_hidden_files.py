"""Case 23: one walk for all commands: what `predict` and `data` pass over, `explain` does not read either."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.folder_walk import walk_images
from tellapart.data.listing import from_paths, list_folder


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints/a-checkpoint.png", "._a.png", "__MACOSX/a.png", "__MACOSX/._a.png"])
def test_hidden_files_are_no_images(tmp_path: Path, hidden: str):
    pixels = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    pixels.save(tmp_path / "a.png")
    target = tmp_path / hidden
    target.parent.mkdir(exist_ok=True)
    pixels.save(target)
    assert [Path(path).name for path in from_paths([tmp_path]).paths] == ["a.png"]
    assert [Path(path).name for path, _ in walk_images(str(tmp_path))] == ["a.png"]
    listing = list_folder(str(tmp_path))
    assert np.asarray(listing.paths)[listing.is_image].tolist() == ["a.png"]
