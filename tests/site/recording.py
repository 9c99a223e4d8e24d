"""Record a command in a terminal and draw it as a picture that moves: ``python -m tests.site.recording``.

The command really runs, in a pseudo-terminal; what it writes is kept with its time. The picture is one SVG file with a
frame for each moment at which the screen changed, and no program in it.
"""

import argparse
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterable, Iterator
from fcntl import ioctl
from html import escape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
COLUMNS, LINES = 124, 28
WIDTH, HEIGHT, FONT = 8.4, 18, 14
"""Size of a character and of a line, and of the letters, in units of the picture."""
FRAME_SECONDS = 0.5
"""Changes that follow sooner are one frame."""
PAUSE_SECONDS = 1.0
"""The longest pause between two frames; one that was longer is cut."""
LAST_SECONDS = 6.0
"""How long the last screen stays before the picture begins again."""
SECONDS_MOST = 120
GROUND, TEXT = "#161b22", "#e6edf3"
COLORS = ("#6e7681", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", "#e6edf3")
"""Of the eight colors of a terminal, on the ground."""

_PIECE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\r\n\b]|[^\x1b\r\n\b]+")


class Style(NamedTuple):
    """How a character looks."""

    color: str = TEXT
    bold: bool = False
    dim: bool = False


class Screen:
    """What a terminal shows, of the sequences that our programs write."""

    def __init__(self) -> None:
        self.lines: list[list[tuple[str, Style]]] = [[]]
        self._row = self._column = 0
        self._style = Style()

    def write(self, text: str) -> None:
        """Show what a program wrote."""
        for piece in _PIECE.finditer(text):
            match piece[2], piece[0]:
                case None, "\n":
                    self._row, self._column = self._row + 1, 0
                case None, "\r":
                    self._column = 0
                case None, "\b":
                    self._column = max(0, self._column - 1)
                case None, str(plain) if not plain.startswith("\x1b"):
                    for character in plain:
                        self._put(character)
                case str(letter), _:
                    self._obey(letter, [int(one) for one in re.findall(r"\d+", piece[1])])

    def shown(self) -> tuple[tuple[tuple[str, Style], ...], ...]:
        """Return the last lines that fit on the screen."""
        lines = [*self.lines]
        while lines and not lines[-1]:
            lines.pop()
        return tuple(tuple(line) for line in lines[-LINES:])

    def _line(self) -> list[tuple[str, Style]]:
        while len(self.lines) <= self._row:
            self.lines.append([])
        return self.lines[self._row]

    def _put(self, character: str) -> None:
        if self._column >= COLUMNS:
            self._row, self._column = self._row + 1, 0
        line = self._line()
        line += [(" ", Style())] * (self._column + 1 - len(line))
        line[self._column] = character, self._style
        self._column += 1

    def _obey(self, letter: str, numbers: list[int]) -> None:
        count = numbers[0] if numbers else 1
        match letter:
            case "A":
                self._row = max(0, self._row - count)
            case "B":
                self._row += count
            case "C":
                self._column += count
            case "G":
                self._column = count - 1
            case "K":
                line = self._line()
                del line[0 if numbers[:1] == [2] else self._column :]
            case "J":
                del self._line()[self._column :]
                del self.lines[self._row + 1 :]
            case "H":
                self._row = self._column = 0
            case "m":
                self._dress(numbers or [0])

    def _dress(self, numbers: list[int]) -> None:
        for number in numbers:
            match number:
                case 0:
                    self._style = Style()
                case 1:
                    self._style = self._style._replace(bold=True)
                case 2:
                    self._style = self._style._replace(dim=True)
                case 22:
                    self._style = self._style._replace(bold=False, dim=False)
                case 39:
                    self._style = self._style._replace(color=TEXT)
                case _ if 30 <= number <= 37:
                    self._style = self._style._replace(color=COLORS[number - 30])
                case _ if 90 <= number <= 97:
                    self._style = self._style._replace(color=COLORS[number - 90])


Frame = tuple[float, tuple[tuple[tuple[str, Style], ...], ...]]


def recorded(command: list[str]) -> Iterator[tuple[float, str]]:
    """Run a command in a terminal and yield what it writes, with the seconds since its start.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    running = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment)
    os.close(theirs)
    began, rest = time.monotonic(), b""
    while time.monotonic() < began + SECONDS_MOST:
        if not select.select([ours], [], [], 1.0)[0]:
            continue
        try:
            rest += os.read(ours, 65_536)
        except OSError:  # The other end is closed: the command ended.
            break
        text = rest.decode("utf-8", "ignore")
        rest = rest[len(text.encode()) :]
        yield time.monotonic() - began, text
    else:
        running.terminate()
    os.close(ours)
    if code := running.wait(30):
        raise subprocess.CalledProcessError(code, command)


def frames(written: Iterable[tuple[float, str]], typed: str) -> list[Frame]:
    """Return the moments at which the screen changed, and what it showed, below the command as it was typed."""
    screen = Screen()
    screen.write(f"\x1b[2m$\x1b[0m \x1b[1m{typed}\x1b[0m\n")
    found: list[Frame] = [(0.0, screen.shown())]
    cut = before = 0.0
    for moment, text in written:
        cut += max(0.0, moment - before - PAUSE_SECONDS)
        at, before = moment - cut, moment
        screen.write(text.replace("\r\n", "\n"))
        shown = screen.shown()
        if shown == found[-1][1]:
            continue
        if len(found) > 1 and at - found[-1][0] < FRAME_SECONDS:
            found[-1] = found[-1][0], shown
        else:
            found.append((at, shown))
    return found


def picture(found: list[Frame]) -> str:
    """Return an SVG file that shows the frames one after the other, for ever. A reader that wants no motion sees the
    last one.
    """
    lines = max(len(shown) for _, shown in found)
    whole = found[-1][0] + LAST_SECONDS
    width, height = COLUMNS * WIDTH + 32, lines * HEIGHT + 40
    letters = f'font-size="{FONT}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" {letters}>',
        "<style>",
        f"g{{visibility:hidden;animation:a {whole:.2f}s step-end infinite}} text{{white-space:pre;fill:{TEXT}}}",
    ]
    for number, (at, _) in enumerate(found):
        ends = found[number + 1][0] if number + 1 < len(found) else whole
        first, last = 100 * at / whole, 100 * ends / whole
        hidden = "" if number == 0 else "0%{visibility:hidden}"
        parts.append(
            f"@keyframes f{number}{{{hidden}{first:.2f}%{{visibility:visible}}{last:.2f}%{{visibility:hidden}}}}"
            f"#f{number}{{animation-name:f{number}}}"
        )
    parts.append("@media(prefers-reduced-motion:reduce){g{animation:none}g:last-of-type{visibility:visible}}")
    parts += ["</style>", f'<rect width="100%" height="100%" rx="10" fill="{GROUND}"/>']
    for number, (_, shown) in enumerate(found):
        parts.append(f'<g id="f{number}">')
        parts += [_text(line, 20 + HEIGHT * (row + 1)) for row, line in enumerate(shown) if line]
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _text(line: tuple[tuple[str, Style], ...], y: float) -> str:
    """Return one line: a piece for each run of characters of one style. ``x`` keeps the columns aligned."""
    spans: list[str] = []
    begins = 0
    while begins < len(line):
        style, ends = line[begins][1], begins
        while ends < len(line) and line[ends][1] == style:
            ends += 1
        text = "".join(character for character, _ in line[begins:ends])
        if text.strip():
            dress = "" if style.color == TEXT else f' fill="{style.color}"'
            dress += ' font-weight="bold"' * style.bold + ' opacity=".65"' * style.dim
            spans.append(f'<tspan x="{16 + WIDTH * begins:.1f}"{dress}>{escape(text.rstrip(), quote=False)}</tspan>')
        begins = ends
    return f'<text y="{y}">{"".join(spans)}</text>' if spans else ""


def main() -> None:
    """Record ``fairlane demo``."""
    options = argparse.ArgumentParser(prog="make recording")
    options.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "demo.svg")
    given = options.parse_args()
    program = str(Path(sys.executable).with_name("fairlane"))
    found = frames(recorded([program, "demo"]), "fairlane demo")
    given.output.write_text(picture(found), "utf-8")
    print(f"{given.output}: {len(found)} frames, {found[-1][0]:.0f} s")


if __name__ == "__main__":
    main()
