"""Figures for a page that forbids inline styles."""

from __future__ import annotations

import re

from markupsafe import Markup
from matplotlib.figure import Figure

from tellapart.reports.svg import inline


def place(figure: Figure, key: str, description: str) -> Markup:
    """The figure as `<svg>` whose looks are attributes, not styles: the page's security policy lets no inline style through.

    Args:
        figure: Drawn with the colors of `figures.PALETTE`.
        key: Unique on the page.
        description: What a person who cannot see the figure is told.
    """
    return Markup(re.sub(r'\sstyle="([^"]*)"', _attributes, str(inline(figure, key, description))))


def _attributes(style: re.Match[str]) -> str:
    """All that matplotlib writes into a style may stand as an attribute, too.

    >>> re.sub(r'\\sstyle="([^"]*)"', _attributes, '<path style="fill: none; stroke-width: 0.8"/>')
    '<path fill="none" stroke-width="0.8"/>'
    """
    pairs = (part.partition(":") for part in style[1].split(";") if part.strip())
    return "".join(f' {name.strip()}="{value.strip()}"' for name, _, value in pairs)
