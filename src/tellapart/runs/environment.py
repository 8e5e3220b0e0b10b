"""The environment of a run, recorded to reproduce it, or to find out why it cannot be reproduced."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tellapart.data.decode import DECODER
from tellapart.data.prepare import Prepared
from tellapart.errors import DataError
from tellapart.runs.validation import MOST_CLASSES

_PACKAGES = (
    "tellapart", "torch", "torchvision", "timm", "lightning-fabric", "scikit-learn", "scikit-image", "numpy", "scipy",
    "pandas", "pillow", "skops",
)  # fmt: skip

_INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "amx_bf16",
    "asimd",
    "bf16",
)  # instruction sets by which libraries select their code


def describe_environment(device: str) -> dict[str, Any]:
    """Versions, machine, git revision of the current folder and the command line, as plain values."""
    return {
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _cpuinfo("model name") or platform.processor() or "unknown",
        "instructions": [name for name in _cpuinfo("flags", "Features").split() if name in _INSTRUCTIONS],
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "device": device,
        "decoder": DECODER,
        "git": _git_revision(),
        "command": shlex.join(["tellapart", *sys.argv[1:]]) if sys.argv[0].endswith("tellapart") else "Python",
    }


def _version(package: str) -> str | None:
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return None


def _cpuinfo(*keys: str) -> str:
    """Value of one of `keys` for the first processor in Linux's `/proc/cpuinfo`; "" on other systems."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(keys):
                return line.partition(":")[2].strip()
    return ""


def _git_revision() -> str | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
        return result.stdout.strip()
    return None


# --- `data.json` of a run: its images and their problems ---------------------------------------------------------------


def describe_data(prepared: Prepared, recipe_name: str, split_fingerprint: str) -> dict[str, Any]:
    """Plain JSON values.

    Args:
        prepared: The data, split.
        recipe_name: Name of the recipe on the command line.
        split_fingerprint: Digest of ids, splits and groups.
    """
    table, twins = prepared.table, prepared.twins
    if len(table.classes) > MOST_CLASSES:
        raise DataError(f"{table.name}: expected at most {MOST_CLASSES:,} classes, found {len(table.classes):,}")
    counts = {s: table.where(split=s).counts()["all"].to_dict() for s in table.split_counts()}
    return {
        "recipe_name": recipe_name, "fingerprint": table.fingerprint, "split_fingerprint": split_fingerprint,
        "name": table.name, "root": table.root, "layout": table.layout,
        "classes": list(table.classes), "positive": table.positive,
        "counts": counts, "unlabeled": len(table.unlabeled()),
        "notes": list(table.notes), "problems": [dict(vars(problem)) for problem in table.problems],
        "duplicates": {
            "images": twins.images, "across_splits": twins.across_splits, "across_classes": twins.across_classes,
            "examples": [list(pair) for pair in twins.examples],
        },
    }  # fmt: skip
