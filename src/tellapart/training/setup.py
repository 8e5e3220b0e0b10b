"""Setup of training: device, precision, and the error for exhausted memory."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tellapart.errors import SystemLimitError

if TYPE_CHECKING:
    import torch
    from torch import nn

_WORTH = 1_000_000  # multiplications of an image from which bf16 pays on a CPU
_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def open_fabric(device: str, precision: str = "32") -> Any:
    """Open a Lightning Fabric on one device: "cpu", "cuda", "cuda:1", "mps" or "auto"; precision "32", "bf16" or "16".

    Raises:
        SystemLimitError: The device is not available.
    """
    import torch
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would announce the precision, with -q too
    kind, _, index = device.partition(":")
    if kind == "cpu" and precision == "16":
        raise SystemLimitError("precision 16 needs a GPU", hint="use train.precision=32 on a CPU")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Fabric warns about unused accelerators; the choice is the user's
            return Fabric(accelerator=kind, devices=[int(index)] if index else 1, precision=_PRECISIONS[precision])  # type: ignore[arg-type]
    except Exception as error:  # Fabric raises its own exceptions, RuntimeError and ValueError for this
        hint = "use --device cpu, which is always available"
        if kind not in ("cpu", "cuda", "mps"):
            raise SystemLimitError(f"unknown device {device!r}: expected cpu, cuda, cuda:N, mps or auto", hint=hint) from None
        if kind == "cuda" and not torch.cuda.is_available():
            raise SystemLimitError(f"the device {device!r} is not available: PyTorch finds no CUDA GPU", hint=hint) from None
        raise SystemLimitError(f"the device {device!r} is not available ({error})", hint=hint) from None


def open_device(device: str) -> torch.device:
    """The torch device of a name, checked as by `open_fabric`. For a CPU without Lightning, whose import takes 230 MB.

    Raises:
        SystemLimitError: The device is not available.
    """
    import torch

    return torch.device("cpu") if device == "cpu" else open_fabric(device).device


def choose_precision(model: nn.Module, image: torch.Tensor, device: torch.device) -> str:
    """The precision for `auto`: "bf16" on a GPU that has it, and for nets of dense convolutions on such a CPU; else "32".

    A rule on the kind of machine and the net, and no measurement of time: the choice, and with it every number of a run, is the
    same whatever else the machine does. `benchmarks/precision.py` has the figures. With AMX, nets of dense convolutions trained
    1.4 to 2.1 times as fast in bf16; others did not: 0.6 times with grouped convolutions, 0.9 times a transformer, 0.9 to 1.2
    times small nets. AVX512_BF16 without AMX: at most 0.9 times on an Intel processor, 1.5 to 2.1 times on an AMD one (single
    trials of three convolutional nets). Without either: 0.3 to 0.8 times.

    Args:
        model: The net, on the CPU.
        image: One training image, (1, C, H, W) uint8 or (1, D) float32.
        device: Device on which the net is trained.
    """
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    has = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    fast = has.get("amx_bf16") or (has.get("avx512_bf16") and str(has.get("cpu_name")).startswith("AMD"))
    return "bf16" if fast and is_densely_convolutional(model, image.cpu()) else "32"


def is_densely_convolutional(model: nn.Module, image: torch.Tensor) -> bool:
    """Whether a net does most of its multiplications, and at least a million for one image, in convolutions without groups."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    if any(isinstance(module, torch.nn.Conv2d) and module.groups > 1 for module in model.modules()):
        return False
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(image)
    # it counts multiplications and additions
    convolutions = counter.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0) // 2
    return convolutions >= max(_WORTH, counter.get_total_flops() // 4)


@contextlib.contextmanager
def explain_oom(batch: int) -> Iterator[None]:
    """Turn an out-of-memory error into one that suggests a batch size.

    Raises:
        SystemLimitError: Out of memory inside the block.
    """
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if (
            isinstance(error, RuntimeError)
            and not isinstance(error, torch.OutOfMemoryError)
            and "allocate memory" not in str(error)
        ):
            raise
        smaller = max(batch // 2, 2)
        hint = f"try -s train.batch={smaller}, a smaller inputs.size, or a smaller net" if batch > 2 else "try a smaller net"
        raise SystemLimitError(f"out of memory with {batch} images a step", hint=hint) from error
