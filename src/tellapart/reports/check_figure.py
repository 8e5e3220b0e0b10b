"""How the measures that a check found are spread over the classes, or the parts: a small panel each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tellapart.reports.figures import INK, MUTED, PAPER, TEST, TRAIN, VALID, shorten, styled

_COLORS = (TEST, VALID, TRAIN, MUTED)
_LINES = ("-", (0, (4, 1.5)))  # from the fifth class on the colors come again, dashed or hatched
_HATCHES = ("", "///")
#: Panels of one figure.
MOST = 6
_ACROSS = 2
_LINE = 40  # characters below a panel


def found_distributions(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those among the figures of a check, the first `MOST`; of a check that makes several comparisons those of each in turn."""
    parts = [part.get("distributions", []) for part in (details, *details.get("comparisons", {}).values())]
    in_turn = [one for several in zip_longest(*parts) for one in several if one is not None]
    return in_turn[:MOST]


@styled
def draw(distributions: list[dict[str, Any]]) -> Figure:
    """Shares of the images of each class or part, by value; what lies further out stands in the outermost bins.

    Args:
        distributions: At least one, as `check._distributions` makes them.
    """
    across, rows = min(_ACROSS, len(distributions)), -(-len(distributions) // _ACROSS)
    figure = Figure(figsize=(3.9 * across + 0.3, 2.1 * rows + 0.2), layout="constrained")
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    for axes, one in zip(panels, distributions, strict=False):
        _measure(axes, one) if "edges" in one else _kinds(axes, one)
        axes.set_title(one["by"], loc="left", color=INK)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, handlelength=1.4, borderaxespad=0.2)
    for axes in panels[len(distributions) :]:
        axes.set_axis_off()
    return figure


def _measure(axes: Axes, one: Mapping[str, Any]) -> None:
    for n, (name, shares) in enumerate(one["shares"].items()):
        color, line = _COLORS[n % len(_COLORS)], _LINES[n // len(_COLORS)]
        axes.stairs(shares, one["edges"], color=color, linewidth=1.4, linestyle=line, label=shorten(name))
        axes.stairs(shares, one["edges"], fill=True, color=color, alpha=0.12)


def _kinds(axes: Axes, one: Mapping[str, Any]) -> None:
    count, places = len(one["shares"]), range(len(one["values"]))
    for n, (name, shares) in enumerate(one["shares"].items()):
        moved = [place + 0.8 * ((n + 0.5) / count - 0.5) for place in places]
        color, hatch = _COLORS[n % len(_COLORS)], _HATCHES[n // len(_COLORS)]
        axes.bar(moved, shares, width=0.8 / count, color=color, hatch=hatch, edgecolor=PAPER, label=shorten(name))
    words = [shorten(word) for word in what_differs(one["values"])]
    flat = sum(map(len, words)) < _LINE
    axes.set_xticks(places, words, **({} if flat else {"rotation": 20, "ha": "right", "rotation_mode": "anchor"}))


def what_differs(values: Sequence[str]) -> list[str]:
    """Values without the words that all of them begin with.

    >>> what_differs(["format PNG", "format JPEG", "other"])
    ['PNG', 'JPEG', 'other']
    """
    named = [value.split() for value in values if value != "other"]
    shared = 0
    while (
        len(named) > 1
        and len({tuple(words[: shared + 1]) for words in named}) == 1
        and all(words[shared + 1 :] for words in named)
    ):
        shared += 1
    return [value if value == "other" else " ".join(value.split()[shared:]) for value in values]
