"""Draw docs/recording.svg, a terminal session that really ran: `python docs/recording.py DATA/cifake.zip`.

It writes 1,200 images of cifake as a hasty collector would, the photographs as JPEG with EXIF, the fakes as PNG, runs
`COMMANDS` on them in a pseudo-terminal, and draws what was printed. A line appears when it was printed in its final form.
Waits longer than `LONGEST` are cut; the title states how long the session really took. A viewer without CSS animations, or
with reduced motion, shows the last frame.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unicodedata
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

import tellapart as ta
from tellapart.data.decode import decode
from tellapart.data.reader import ImageReader

PICTURE = Path(__file__).parent / "recording.svg"
COMMANDS = (
    "tellapart check photos/ --only metadata --only duplicates",
    "tellapart compare photos/ -r knn -r spectrum-linear",
)
EXPECTED = (0, 7)  # exit codes; 7: `check` found something
EACH, COLUMNS, ROWS = 600, 124, 60
LONGEST = 1.2  # seconds that a wait may last in the picture
TYPING = 0.03  # seconds per character of a command
CELL_W, CELL_H, LEFT, TOP = 8.4, 19, 16, 48
FOREGROUND, BACKGROUND, BAR, DIM = "#d8dee9", "#1c2128", "#2d333b", "#8b949e"
#: The eight colors of a terminal, normal and bright.
PALETTE = ("#545d68", "#f47067", "#57ab5a", "#daaa3f", "#539bf5", "#b083f0", "#39c5cf", "#adbac7")
ESCAPE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


@dataclass(frozen=True)
class Style:
    """How one character looks."""

    color: str = FOREGROUND
    bold: bool = False
    dim: bool = False


@dataclass
class Line:
    """One row of the screen: its characters, and when the last of them was written (seconds)."""

    cells: list[tuple[str, Style]] = field(default_factory=list)
    when: float = 0.0

    @property
    def text(self) -> str:
        """The row without styles and trailing blanks."""
        return "".join(character for character, _ in self.cells).rstrip()


class Screen:
    """As much of a terminal as rich needs: colors, carriage returns, cursor up, erased lines."""

    def __init__(self) -> None:
        self.lines, self.row, self.column, self.style = [Line()], 0, 0, Style()

    def feed(self, text: str, now: float) -> None:
        """Show some output that came at `now`."""
        at = 0
        while at < len(text):
            if found := ESCAPE.match(text, at):
                self._control(found[1], found[2], now)
                at = found.end()
                continue
            self._put(text[at], now)
            at += 1

    def _put(self, character: str, now: float) -> None:
        if character == "\n":
            self.row, self.column = self.row + 1, 0
            if self.row == len(self.lines):
                self.lines.append(Line(when=now))
        elif character == "\r":
            self.column = 0
        elif character >= " ":
            line = self.lines[self.row]
            line.cells += [(" ", Style())] * (self.column + 1 - len(line.cells))
            line.cells[self.column], line.when = (character, self.style), now
            self.column += 1

    def _control(self, arguments: str, kind: str, now: float) -> None:
        if kind == "m":
            self.style = styled(self.style, [int(part or 0) for part in arguments.split(";")])
        elif kind == "A":
            self.row = max(self.row - int(arguments or 1), 0)
        elif kind == "K":
            self.lines[self.row] = Line(when=now)


def styled(style: Style, codes: list[int]) -> Style:
    """A style after some SGR codes; colors beyond the first sixteen are not used by tellapart."""
    for code in codes:
        if code == 0:
            style = Style()
        elif code in (1, 2, 22):
            style = Style(style.color, code == 1, code == 2)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = Style(PALETTE[code % 10], style.bold, style.dim)
        elif code == 39:
            style = Style(FOREGROUND, style.bold, style.dim)
    return style


def collect(source: Path, folder: Path) -> None:
    """Write `EACH` pictures of each class: photographs as JPEG of quality 75 to 95 with EXIF, fakes as PNG."""
    random, table = np.random.default_rng(0), ta.scan(source)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Camera", "One"
    with ImageReader(table) as reader:
        for label, name in enumerate(table.classes):
            rows = random.permutation(np.flatnonzero(table.labels == label))[:EACH]
            below = folder / name.lower()
            below.mkdir(parents=True)
            for number, row in enumerate(rows):
                picture = Image.fromarray(decode(reader.get(table.paths[row]), mode="rgb"))
                if name == "REAL":
                    picture.save(below / f"{number:03}.jpg", quality=int(random.integers(75, 96)), exif=exif)
                else:
                    picture.save(below / f"{number:03}.png")


def record(command: str, folder: Path, screen: Screen, began: float) -> None:
    """Run one command in a pseudo-terminal of `COLUMNS` × `ROWS` and show its output on the screen."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    words = [sys.executable, "-m", *command.split()]
    surroundings = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    with subprocess.Popen(words, cwd=folder, env=surroundings, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        decoder = io.IncrementalNewlineDecoder(None, translate=False)
        rest = b""
        while True:
            ready, _, _ = select.select([leader], [], [], 0.1)
            if ready:
                try:
                    rest += os.read(leader, 65_536)
                except OSError:  # how Linux says that the last writer has gone
                    break
                whole = len(rest) - _incomplete(rest)
                screen.feed(decoder.decode(rest[:whole].decode("utf-8")), time.monotonic() - began)
                rest = rest[whole:]
            elif process.poll() is not None:
                break
    os.close(leader)
    if process.returncode not in EXPECTED:
        shown = "\n".join(line.text for line in screen.lines)
        raise SystemExit(f"{command}: exit code {process.returncode}\n{shown}")


def _incomplete(content: bytes) -> int:
    """How many bytes at the end belong to a character, or to a control sequence, of which more will come."""
    for count in range(1, min(4, len(content)) + 1):
        byte = content[-count]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return count if count < length else 0
        if byte < 0x80:
            break
    start = content.rfind(b"\x1b")
    return len(content) - start if start >= 0 and not re.match(rb"\x1b\[[?\d;]*[A-Za-z]", content[start:]) else 0


def session(source: Path) -> tuple[list[Line], list[float], float]:
    """The lines of the whole session, when each appears in the picture, and how many seconds it really took."""
    with tempfile.TemporaryDirectory() as name:
        folder, lines = Path(name), []
        collect(source, folder / "photos")
        began = time.monotonic()
        for command in COMMANDS:
            prompt = Line([("$", Style(PALETTE[2], bold=True)), *((c, Style(bold=True)) for c in f" {command}")])
            prompt.when = time.monotonic() - began
            screen = Screen()
            record(command, folder, screen, began)
            lines += [prompt, *_without_blank_ends(screen.lines), Line(when=screen.lines[-1].when)]
        took = time.monotonic() - began
    return lines[:-1], _shown(lines[:-1]), took


def _without_blank_ends(lines: list[Line]) -> list[Line]:
    texts = [bool(line.text) for line in lines]
    return lines[texts.index(True) : len(texts) - texts[::-1].index(True)] if any(texts) else []


def _shown(lines: list[Line]) -> list[float]:
    """Seconds at which lines appear: as printed, in order, long waits cut, commands typed."""
    shown, now, before = [], 0.4, 0.0
    for line in lines:
        now += min(max(line.when - before, 0.0), LONGEST)
        before = max(before, line.when)
        shown.append(now)
        if line.text.startswith("$ "):
            now += len(line.text) * TYPING
    return shown


# --- drawing ----------------------------------------------------------------------------------------------------------


def draw(lines: list[Line], shown: list[float], took: float) -> str:
    """The session as an animated SVG."""
    width, height = round(2 * LEFT + COLUMNS * CELL_W), TOP + len(lines) * CELL_H + 12
    rows = "\n".join(_row(number, line, when) for number, (line, when) in enumerate(zip(lines, shown, strict=True)))
    title = f"a real session of {took:.0f} s; waits over {LONGEST:g} s are cut"
    dots = "".join(f'<circle cx="{20 + 20 * i}" cy="16" r="6" fill="{PALETTE[c]}"/>' for i, c in enumerate((1, 3, 2)))
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>{escape(" · ".join(COMMANDS))}</title>
<style>
text {{ font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }}
.b {{ font-weight: bold; }}
@keyframes show {{ from {{ opacity: 0; }} to {{ opacity: 1; }} }}
@media (prefers-reduced-motion: no-preference) {{ g {{ animation: show 1ms linear backwards; }} }}
</style>
<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>
<path d="M0 32V8a8 8 0 0 1 8-8H{width - 8}a8 8 0 0 1 8 8V32z" fill="{BAR}"/>
{dots}<text x="{width / 2:g}" y="21" text-anchor="middle" fill="{DIM}">{title}</text>
{rows}
</svg>
"""


def _row(number: int, line: Line, when: float) -> str:
    y = TOP + number * CELL_H + 4
    if line.text.startswith("$ "):  # typed: one character after the other
        parts = [
            f'<g style="animation-delay:{when + at * TYPING:.2f}s">{_text(at, y, character, style)}</g>'
            for at, (character, style) in enumerate(line.cells)
        ]
        return "".join(parts)
    spans, start = [], 0
    cells = line.cells[: len(line.text)]
    for at in range(1, len(cells) + 1):
        if at == len(cells) or cells[at][1] != cells[start][1]:
            spans.append(_text(start, y, "".join(c for c, _ in cells[start:at]), cells[start][1]))
            start = at
    return f'<g style="animation-delay:{when:.2f}s">{"".join(spans)}</g>' if spans else ""


def _text(column: int, y: float, text: str, style: Style) -> str:
    """Some characters of one style; their width is fixed, whatever font the viewer has."""
    if not text.strip():
        return ""
    column += len(text) - len(text.lstrip())
    text = text.strip()
    cells = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
    color = DIM if style.dim else style.color
    attributes = f' fill="{color}"{" class=" + chr(34) + "b" + chr(34) if style.bold else ""}'
    width = f' textLength="{cells * CELL_W:.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{LEFT + column * CELL_W:.1f}" y="{y:g}"{attributes}{width}>{escape(text)}</text>'


def main() -> None:
    """Run the session and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="cifake.zip")
    parser.add_argument("--output", type=Path, default=PICTURE)
    chosen = parser.parse_args()
    chosen.output.write_text(draw(*session(chosen.source)), encoding="utf-8")


if __name__ == "__main__":
    main()
