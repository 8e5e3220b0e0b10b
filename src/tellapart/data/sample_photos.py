"""The real photographs that scikit-learn and scikit-image carry in their packages: no download, no network.

The files are read where they lie, not through `sklearn.datasets` or `skimage.data`, whose loaders may go to the network
for a file that is missing and cost seconds to import. Credits say what the libraries say, also where that is little.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart.data.open_image import open_file
from tellapart.errors import DataError

_FOLDERS = {"scikit-learn": ("sklearn", "datasets/images"), "scikit-image": ("skimage", "data")}


@dataclass(frozen=True)
class Photograph:
    """One photograph.

    Attributes:
        name: Unique; begins the names of its tiles.
        scene: What it shows; the two pictures of a stereo pair show one scene.
        library: The package that carries it.
        file: Its name there.
        credit: Author and license, as the library states them.
        color: False for gray photographs.
        shrink: Each side is divided by this (mean of the pixels) before use: some files are larger than their detail.
    """

    name: str
    scene: str
    library: str
    file: str
    credit: str
    color: bool = True
    shrink: int = 1

    @property
    def path(self) -> Path:
        """Where the file lies.

        Raises:
            DataError: The library or the file is not there.
        """
        package, folder = _FOLDERS[self.library]
        spec = importlib.util.find_spec(package)  # does not import it
        path = Path(spec.origin).parent / folder / self.file if spec and spec.origin else None
        if path is None or not path.is_file():
            raise DataError(
                f"{self.library} should carry the photograph {self.file}, but {path or package} is not there",
                hint=f"install the locked {self.library}: make setup",
            )
        return path

    @property
    def digest(self) -> str:
        """16 hex digits over the file: another release may carry another picture under the name."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]

    def load(self) -> np.ndarray:
        """The pixels: (H, W, 3) uint8 RGB, or (H, W, 1) uint8 for a gray photograph."""
        with open_file(self.path, self.file) as image:
            pixels = image.convert("RGB" if self.color else "L").reduce(self.shrink)
        return np.asarray(pixels).reshape(pixels.height, pixels.width, -1)


_SKLEARN, _SKIMAGE = "scikit-learn", "scikit-image"
_CC_BY = "CC BY 2.0, https://creativecommons.org/licenses/by/2.0/"
_CHINA = f"danielbuechele, https://www.flickr.com/photos/danielbuechele/6061409035/; {_CC_BY}"
_FLOWER = (
    "https://www.flickr.com/photos/vultilion/6056698931/ (linked by the library's note, which names danielbuechele); " + _CC_BY
)
_ASTRONAUT = "Eileen Collins, NASA Great Images, https://flic.kr/p/r9qvLn; public domain"
_ROCKET = "SpaceX, https://www.flickr.com/photos/spacexphotos/16511594820/; public domain"
_STEREO = "Middlebury 2014 stereo benchmark (Scharstein et al., GCPR 2014), reduced by the library, which states no license"
_HUBBLE = "NASA, Hubble eXtreme Deep Field; public domain"
_RETINA = "Mikael Häggström, WikiJournal of Medicine 1 (2), 2014, File:Fundus_photograph_of_normal_left_eye.jpg; CC0"
_IHC = "Center for Microscopy And Molecular Imaging; no known copyright restrictions"
_COINS = "Brooklyn Museum Collection, image 51611; no known copyright restrictions"
_GRASS = "linolafett, https://www.deviantart.com/linolafett/art/Grass-01-434853879; CC0"
_TEXT = "https://en.wikipedia.org/wiki/File:Corner.png; public domain"

PHOTOGRAPHS: tuple[Photograph, ...] = (
    Photograph("china", "china", _SKLEARN, "china.jpg", _CHINA),
    Photograph("flower", "flower", _SKLEARN, "flower.jpg", _FLOWER),
    Photograph("astronaut", "astronaut", _SKIMAGE, "astronaut.png", _ASTRONAUT),
    Photograph("coffee", "coffee", _SKIMAGE, "coffee.png", "Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0"),
    Photograph("chelsea", "chelsea", _SKIMAGE, "chelsea.png", "Stefan van der Walt; CC0"),
    Photograph("rocket", "rocket", _SKIMAGE, "rocket.jpg", _ROCKET),
    Photograph("motorcycle-left", "motorcycle", _SKIMAGE, "motorcycle_left.png", _STEREO),
    Photograph("motorcycle-right", "motorcycle", _SKIMAGE, "motorcycle_right.png", _STEREO),
    Photograph("hubble", "hubble", _SKIMAGE, "hubble_deep_field.jpg", _HUBBLE),
    Photograph("retina", "retina", _SKIMAGE, "retina.jpg", _RETINA, shrink=3),
    Photograph("ihc", "ihc", _SKIMAGE, "ihc.png", _IHC),
    Photograph("camera", "camera", _SKIMAGE, "camera.png", "Lav Varshney; CC0", color=False),
    Photograph("coins", "coins", _SKIMAGE, "coins.png", _COINS, color=False),
    Photograph("moon", "moon", _SKIMAGE, "moon.png", "the library states neither author nor license", color=False),
    Photograph("brick", "brick", _SKIMAGE, "brick.png", "https://cc0textures.com, Bricks25; CC0", color=False),
    Photograph("grass", "grass", _SKIMAGE, "grass.png", _GRASS, color=False),
    Photograph("gravel", "gravel", _SKIMAGE, "gravel.png", "https://cc0textures.com, Gravel04; CC0", color=False),
    Photograph("text", "text", _SKIMAGE, "text.png", _TEXT, color=False),
)
