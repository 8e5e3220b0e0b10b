"""The demo data set, made offline: tiles of real photographs, half of them edited, with a mask for every edit.

    <folder>/
        train.csv           id, label (real | edited), group (scene), split, source (kind of edit, or "none")
        images/<name>.png   RGB, all of one size in pixels and in bytes
        masks/<name>.png    gray, 255 where edited, 0 elsewhere; edited tiles only
        provenance.csv      the position of each tile, the edit, the position of its donor, the edited share
        README.txt          description, limits and credits
        demo.json           the settings: a folder made with the same settings is reused

How leaks are avoided: whole scenes lie in one split and donors come from the same split; a tile is real or edited, never both,
drawn at random before anything is edited, half and half in every photograph; gray photographs get gray donors, color ones color
donors; PNGs are stored uncompressed, so files of both classes have the same number of bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from tellapart.data.sample_photos import PHOTOGRAPHS, Photograph
from tellapart.errors import DataError, SystemLimitError
from tellapart.forgeries._edits import AREA, KINDS, edit
from tellapart.io import (
    atomic_folder,
    write_json,
    write_text_atomically,
)
from tellapart.regular_files import read_text
from tellapart.spreadsheet import frame_csv
from tellapart.types import SPLITS

VERSION = 1  # increased when the same settings give other files
#: Tiles per scene are a multiple of this: a stereo pair halves them, two classes again, the kinds of edit share the rest.
MULTIPLE = 2 * 2 * len(KINDS)
_MARKER = "demo.json"
#: Scenes in color (True) and in gray; the others train. 7 test scenes: a sign-flip test over 5 cannot fall below p = 0.06.
_HELD_OUT = {True: {"test": 4, "valid": 2}, False: {"test": 3, "valid": 1}}
_SMALLEST_AREA = 0.01  # of a tile: at 32 pixels an edit of ten pixels is left
_TEXTURE = 1.0  # gray levels: in flatter tiles (sky, black space) an edit would change nothing that anyone could see
_STEP = 8  # pixels between the positions of tiles; multiples of 8 keep the JPEG grid of a photograph where it was


@dataclass(frozen=True)
class _Tile:
    """One tile; one row of provenance.csv."""

    name: str
    scene: str
    split: str
    photograph: str
    x: int
    y: int
    kind: str = "none"
    donor: str = ""
    donor_x: int = -1
    donor_y: int = -1


def make(
    folder: str | Path, *, seed: int = 0, tiles_per_scene: int = 96, size: int = 64, area: tuple[float, float] = AREA
) -> Path:
    """Write the data set, or reuse it.

    Args:
        folder: Output folder; must not exist, be empty, or contain the same data set.
        seed: Random seed for the splits, the tiles, the classes and the edits. The same seed gives the same bytes.
        tiles_per_scene: A multiple of 12.
        size: Side of a tile in pixels, at least 32.
        area: Lowest and highest share of a tile that an edit covers. To score maps against the masks, small edits are more
            informative: `size=128, area=(0.05, 0.10)` has regions of as many pixels as the default tiles.

    Returns:
        The folder, for `scan`.

    Raises:
        DataError: The folder contains something else, or the photographs are missing or too small for the number of tiles.
        SystemLimitError: The folder cannot be written.
    """
    folder = Path(folder)
    if tiles_per_scene < MULTIPLE or tiles_per_scene % MULTIPLE or size < 32:
        raise DataError(f"expected tiles_per_scene as a multiple of {MULTIPLE} and size ≥ 32, got {tiles_per_scene} and {size}")
    if not _SMALLEST_AREA <= area[0] < area[1] <= AREA[1]:
        raise DataError(f"expected area as two shares from {_SMALLEST_AREA} up to {AREA[1]}, got {area[0]} and {area[1]}")
    photographs = {photo.name: photo.digest for photo in PHOTOGRAPHS}
    settings: dict[str, Any] = {"version": VERSION, "seed": seed, "tiles_per_scene": tiles_per_scene, "size": size}
    settings |= photographs
    if area != AREA:  # existing folders have no area in their settings
        settings["area"] = list(area)
    try:
        if not _is_made(folder, settings):
            _make_beside(folder, settings)
    except OSError as error:
        hint = "choose another folder, or free some space"
        path = error.filename or folder
        raise SystemLimitError(f"{path}: the demo data cannot be written ({error.strerror})", hint=hint) from error
    return folder


def _is_made(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the folder contains this data set; False if it is empty or does not exist."""
    if not folder.exists():
        return False
    hint = f"remove {folder} or choose another folder"
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder for the demo data, found a file", hint=hint)
    if not any(folder.iterdir()):
        return False
    try:
        marker = json.loads(read_text(folder / _MARKER))
    except (FileNotFoundError, ValueError):
        raise DataError(f"{folder}: expected an empty folder or demo data", hint=hint) from None
    if marker != settings:
        raise DataError(f"{folder}: contains demo data made with other settings or photographs", hint=hint)
    expected = len({photo.scene for photo in PHOTOGRAPHS}) * settings["tiles_per_scene"]
    found = len(list((folder / "images").glob("*.png")))
    if found != expected:
        raise DataError(f"{folder / 'images'}: expected {expected} images, found {found}", hint=hint)
    return True


def _make_beside(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write into a temporary folder, then rename it, so that a crash leaves no incomplete data set."""
    area = tuple(settings.get("area", AREA))
    with atomic_folder(folder.absolute()) as beside:
        if _is_made(folder, settings):  # another process has written it while this one waited
            return
        for name in ("images", "masks"):
            (beside / name).mkdir()
        _write(beside, int(settings["seed"]), int(settings["tiles_per_scene"]), int(settings["size"]), area)
        write_json(beside / _MARKER, settings)


def _write(folder: Path, seed: int, tiles_per_scene: int, size: int, area: tuple[float, float]) -> None:
    """Write everything except the marker."""
    pixels = {photo.name: photo.load() for photo in PHOTOGRAPHS}
    tiles = _plan(pixels, seed, tiles_per_scene, size)
    shares = [_write_tile(folder, tile, pixels, seed, size, area) for tile in tiles]
    frame = pd.DataFrame([asdict(tile) for tile in tiles]).assign(share_edited=shares)
    table = pd.DataFrame(
        {
            # A path, not a bare name, which would match the mask as well as the image.
            "id": "images/" + frame["name"] + ".png",
            "label": np.where(frame["kind"] == "none", "real", "edited"),
            "group": frame["scene"],
            "split": frame["split"],
            "source": frame["kind"],
        }
    )
    write_text_atomically(folder / "train.csv", frame_csv(table), durable=False)
    provenance = frame_csv(frame, float_format="%.4f")
    write_text_atomically(folder / "provenance.csv", provenance, durable=False)
    (folder / "README.txt").write_text(_readme(frame, size), encoding="utf-8")


def _plan(pixels: Mapping[str, np.ndarray], seed: int, tiles_per_scene: int, size: int) -> list[_Tile]:
    """Choose the tiles, which of them are edited, how, and from which donor; nothing is edited yet."""
    splits = assign_splits(seed)
    photos = {scene: [photo for photo in PHOTOGRAPHS if photo.scene == scene] for scene in splits}
    tiles: list[_Tile] = []
    for photo in PHOTOGRAPHS:
        count = tiles_per_scene // len(photos[photo.scene])
        corners = _corners(photo, pixels[photo.name], count, size, _generator(seed, photo.name))
        kinds = [*KINDS] * (count // (2 * len(KINDS))) + ["none"] * (count // 2)
        kinds = _generator(seed, photo.name, "kinds").permutation(kinds).tolist()
        tiles += [
            _Tile(f"{photo.name}-{i:03d}", photo.scene, splits[photo.scene], photo.name, x, y, kind)
            for i, ((y, x), kind) in enumerate(zip(corners, kinds, strict=True))
        ]
    return [_with_donor(tile, tiles, _generator(seed, tile.name, "donor")) for tile in tiles]


def assign_splits(seed: int) -> dict[str, str]:
    """Scene → train, valid or test, drawn at random among the color scenes and among the gray ones."""
    splits: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    for color, held_out in _HELD_OUT.items():
        scenes = sorted({photo.scene for photo in PHOTOGRAPHS if photo.color == color})
        names = [name for name, count in held_out.items() for _ in range(count)]
        names += ["train"] * (len(scenes) - len(names))
        splits |= dict(zip(rng.permutation(scenes).tolist(), names, strict=True))
    return splits


def _corners(photo: Photograph, pixels: np.ndarray, count: int, size: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw the upper left corners (y, x) of textured tiles, from the widest grid that has enough of them."""
    luma = pixels.mean(axis=2, dtype=np.float64)
    roughness = np.abs(luma - ndimage.uniform_filter(luma, 5))
    height, width = luma.shape
    usable: list[tuple[int, int]] = []
    for step in range(size // _STEP * _STEP, 0, -_STEP):
        grid = [(y, x) for y in range(0, height - size + 1, step) for x in range(0, width - size + 1, step)]
        usable = [(y, x) for y, x in grid if roughness[y : y + size, x : x + size].mean() >= _TEXTURE]
        if len(usable) >= count:
            return [usable[i] for i in rng.choice(len(usable), count, replace=False)]
    raise DataError(
        f"the photograph {photo.file} has room for {len(usable)} tiles of {size} pixels, not for {count}",
        hint="choose fewer tiles_per_scene or a smaller size",
    )


def _with_donor(tile: _Tile, tiles: list[_Tile], rng: np.random.Generator) -> _Tile:
    """Draw the tile that a spliced region comes from: same split, another scene, color for color."""
    if tile.kind != "splice":
        return tile
    color = {photo.name: photo.color for photo in PHOTOGRAPHS}
    donors = [
        other
        for other in tiles
        if other.split == tile.split and other.scene != tile.scene and (color[other.photograph] or not color[tile.photograph])
    ]
    donor = donors[rng.integers(len(donors))]
    where = {"donor": donor.photograph, "donor_x": donor.x, "donor_y": donor.y}
    return _Tile(**(asdict(tile) | where))


def _write_tile(
    folder: Path, tile: _Tile, pixels: Mapping[str, np.ndarray], seed: int, size: int, area: tuple[float, float]
) -> float:
    """Crop, edit if planned, and write one tile and its mask; return the share of its pixels in the mask."""
    image = pixels[tile.photograph][tile.y : tile.y + size, tile.x : tile.x + size]
    mask = np.zeros((size, size), dtype=bool)
    if tile.kind != "none":
        donor = image
        if tile.kind == "splice":
            donor = pixels[tile.donor][tile.donor_y : tile.donor_y + size, tile.donor_x : tile.donor_x + size]
            if image.shape[2] < donor.shape[2]:
                donor = np.asarray(Image.fromarray(donor).convert("L"))[..., None]
        image, mask = edit(tile.kind, image, donor, _generator(seed, tile.name, "edit"), area)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{tile.name}.png")
    rgb = np.ascontiguousarray(np.broadcast_to(image, (size, size, 3)))
    Image.fromarray(rgb).save(folder / "images" / f"{tile.name}.png", compress_level=0)
    return float(mask.mean())


def _generator(seed: int, *names: str) -> np.random.Generator:
    """A separate generator for every purpose, so that an additional draw in one place changes nothing elsewhere."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def _readme(frame: pd.DataFrame, size: int) -> str:
    """The README of the data set."""
    scenes = {part: sorted(set(frame.loc[frame["split"] == part, "scene"])) for part in SPLITS}
    counts = frame["split"].value_counts().to_dict()
    parts = "\n".join(f"  {part:6}{counts[part]:5}  {', '.join(scenes[part])}" for part in SPLITS)
    credits = "\n".join(f"  {photo.name} ({photo.library}, {photo.file}): {photo.credit}" for photo in PHOTOGRAPHS)
    return _README.format(n=len(frame), size=size, parts=parts, credits=credits)


_README = """Demo data of tellapart: {n} tiles of {size} x {size} pixels.

The photographs are real. The edits are synthetic: this program made them, by three simple recipes. A classifier that
detects them need not detect edits in the wild, and no figure obtained here measures how well it would.

Half of the tiles of every photograph are edited, one region each, outlined in masks/:
  splice    a region of another photograph, turned by 5 to 25 degrees, enlarged by 10 to 25 %, blended by gradients
  inpaint   the region is filled from its rim, smoothly, with a little of the tile's own grain
  resample  the region is turned by 5 to 25 degrees and enlarged by 10 to 25 % where it lies
No tile occurs both real and edited. Tiles of one photograph may overlap, so they are not independent: therefore the table
has the scene as `group`. No scene lies in two splits, and regions are moved only between scenes of one split:
{parts}

Tiles that are almost flat are excluded, for both classes equally. The images are stored without compression, so that their
size in bytes carries no information. provenance.csv lists where everything was cropped.

Photographs, with the credits and licenses that the libraries state. The tiles are crops of them, and half are edited as
described above; if you pass them on, these licenses apply:
{credits}
"""
