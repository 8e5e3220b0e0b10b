"""How a copy is to be aligned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from tellapart.errors import DataError

Encoder = Literal["png", "jpeg"]
Grid = Literal["keep", "random"]
ENCODERS: tuple[Encoder, ...] = ("png", "jpeg")
GRIDS: tuple[Grid, ...] = ("keep", "random")
IMAGES = "images"  # the folder of a copy that holds them
LEAST_SIDE = 8  # pixels: one block of JPEG; less is no picture
#: Color at half size, as most software writes JPEG; the only one that is written.
SUBSAMPLING = "4:2:0"


@dataclass(frozen=True)
class AlignOptions:
    """What all files have in common afterwards.

    Attributes:
        encoder: "png": not compressed, so that every file has the same number of bytes, and no pixel changes; "jpeg".
        quality: Smallest and largest quality of JPEG, drawn evenly for each image, whatever its class; 1 to 100.
        size: (height, width) of every image; None: the largest rectangle that fits into enough images of every class.
        keep: The share of the images of every class, at least, into which a size that is not given must fit.
        grid: "keep": crops begin on the 16-pixel grid of the source, so the blocks of an old JPEG stay where they were;
            "random": at a position drawn for each image, so that blocks lie anywhere, in all classes alike.
        seed: Draws positions, qualities and names.
    """

    encoder: Encoder = "png"
    quality: tuple[int, int] = (90, 90)
    size: tuple[int, int] | None = None
    keep: float = 0.95
    grid: Grid = "keep"
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.quality
        if self.encoder not in ENCODERS or self.grid not in GRIDS:
            found = f"{self.encoder!r} and {self.grid!r}"
            raise DataError(f"expected a format of {', '.join(ENCODERS)} and a grid of {', '.join(GRIDS)}, found {found}")
        if not 1 <= low <= high <= 100:
            raise DataError(f"the quality {low}-{high} is not in 1 to 100, low to high", hint="for example 90, or 75-95")
        if not 0 < self.keep <= 1:
            raise DataError(f"keep is {self.keep:g}, expected a share above 0, at most 1", hint="0.95 is usual")
        if self.size is not None and min(self.size) < LEAST_SIDE:
            wanted = f"{self.size[1]}×{self.size[0]}"
            raise DataError(f"a size of {wanted} was asked for; {LEAST_SIDE}×{LEAST_SIDE} is the least")
        if self.seed < 0:
            raise DataError(f"the seed is {self.seed}, expected 0 or more")

    @property
    def ending(self) -> str:
        """Of the files that are written, without the dot."""
        return "png" if self.encoder == "png" else "jpg"

    @property
    def words(self) -> str:
        """The encoder, for a sentence."""
        if self.encoder == "png":
            return "PNG without compression"
        low, high = self.quality
        return f"JPEG, quality {low}" + (f" to {high}" if high > low else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; qualities only where there are any."""
        content = asdict(self) | {"size": list(self.size) if self.size else None, "quality": list(self.quality)}
        return content if self.encoder == "jpeg" else content | {"quality": None}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> AlignOptions:
        """Read what `to_dict` wrote."""
        size, quality = content["size"], content["quality"] or (90, 90)
        return cls(**content | {"size": tuple(size) if size else None, "quality": tuple(quality)})
