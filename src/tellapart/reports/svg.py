"""Figures as inline SVG that follows the page's theme, and as PNG files."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tellapart.errors import DataError
from tellapart.os_errors import translate_os_errors
from tellapart.reports.figures import PALETTE, styled


@dataclass(frozen=True)
class FigureSheet:
    """Destination of figures: the page, and a folder of PNG files if there is one."""

    png: Path | None
    prefix: str = ""

    def add(self, figure: Figure, name: str, key: str, description: str) -> Markup:
        """Return the figure as SVG, and write `<folder>/<name>.png` if there is a folder."""
        drawn = inline(figure, key, description)  # first: drawing at another resolution changes the layout slightly
        if self.png is not None:
            write_png(figure, self.png / f"{self.prefix}{name}.png")
        return drawn


def inline(figure: Figure, key: str, description: str) -> Markup:
    """Convert a figure to an `<svg>` element for a page.

    Ids are prefixed with `key`, since matplotlib repeats them in every figure. Colors of the palette become CSS variables;
    fonts and line joins are left to the page. Comments, metadata and namespaces, which contain web addresses, are removed.

    Args:
        figure: A figure in the colors of `figures.PALETTE`.
        key: Unique key on the page; letters, digits and dashes.
        description: Alternative text.
    """
    text = _draw(figure)
    body = text[text.index("<svg") :].partition(">")[2]
    body = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>|<!--.*?-->|<\?.*?\?>", "", body, flags=re.DOTALL)
    body = re.sub(r"\bxlink:href=", "href=", body)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', body)
    body = re.sub(r'(href="#|url\(#)', rf"\1{key}-", body)
    body = re.sub(r"font: (?:([a-z]+) )?([\d.]+)px [^;\"]+", r"font-size: \2px", body)
    body = re.sub(r"font-family: [^;\"]+(?:; )?", "", body)
    for color, variable in PALETTE.items():
        body = body.replace(color, f"var({variable})")
    body = re.sub(r"\n\s*", "\n", body).strip()
    width, height = (72 * inches for inches in figure.get_size_inches())
    return Markup(
        f'<svg viewBox="0 0 {width:.5g} {height:.5g}" width="{width * 4 / 3:.0f}" height="{height * 4 / 3:.0f}" '
        f'role="img" aria-label="{escape(description)}">\n{body}\n'
    )


def write_png(figure: Figure, path: Path) -> Path:
    """Write a figure at 160 dots per inch on white."""
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _print_png(figure, path)
    return path


def write_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG or SVG on white, by the file extension.

    Raises:
        DataError: The extension is neither .png nor .svg.
        SystemLimitError: The file cannot be written.
    """
    if path.suffix.lower() == ".png":
        return write_png(figure, path)
    if path.suffix.lower() != ".svg":
        raise DataError(f"{path}: expected a file name that ends in .png or .svg", hint="use one of these extensions")
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _print_svg(figure, path)
    return path


@styled
def _print_svg(figure: Figure, path: Path) -> None:
    FigureCanvasSVG(figure).print_figure(path, facecolor="white", metadata={"Date": None})


@styled
def _draw(figure: Figure) -> str:
    target = io.StringIO()
    FigureCanvasSVG(figure).print_svg(target, metadata={"Date": None})
    return target.getvalue()


@styled
def _print_png(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure).print_figure(path, dpi=160, facecolor="white", metadata={"Software": None})


def place(figure: Figure, key: str, description: str) -> Markup:
    """Convert a figure to an `<svg>` element with attributes instead of styles, for a security policy without inline styles.

    Args:
        figure: A figure in the colors of `figures.PALETTE`.
        key: Unique key on the page.
        description: Alternative text.
    """
    return Markup(re.sub(r'\sstyle="([^"]*)"', _attributes, str(inline(figure, key, description))))


def _attributes(style: re.Match[str]) -> str:
    """Convert a style to attributes; every property that matplotlib writes exists as an attribute.

    >>> re.sub(r'\\sstyle="([^"]*)"', _attributes, '<path style="fill: none; stroke-width: 0.8"/>')
    '<path fill="none" stroke-width="0.8"/>'
    """
    pairs = (part.partition(":") for part in style[1].split(";") if part.strip())
    return "".join(f' {name.strip()}="{value.strip()}"' for name, _, value in pairs)
