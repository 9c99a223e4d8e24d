"""A recording shows what a terminal would have shown, and is a picture without a program."""

import sys
from xml.etree import ElementTree

import pytest

from tests.site.recording import COLUMNS, LAST_SECONDS, PAUSE_SECONDS, Screen, frames, picture, recorded


def lines(screen: Screen) -> list[str]:
    """The text on a screen."""
    return ["".join(character for character, _ in line) for line in screen.shown()]


def test_a_screen_obeys_what_our_programs_write() -> None:
    """Lines that are erased and written again, columns, colors; a long line goes on below."""
    screen = Screen()

    screen.write("one\ntwo\x1b[2K\r\x1b[1A\x1b[2Kfirst\n\x1b[32mgreen\x1b[0m \x1b[1mbold\x1b[0m\x1b[?25l")
    screen.write("\n" + "x" * (COLUMNS + 1))

    assert lines(screen) == ["first", "green bold", "x" * COLUMNS, "x"]
    styles = [style for _, style in screen.shown()[1]]
    assert (styles[0].color != styles[5].color, styles[6].bold, styles[5].bold) == (True, True, False)


def test_frames_are_the_moments_of_change_without_long_pauses() -> None:
    """Changes that follow at once are one frame."""
    written = [(1.0, "a\r\n"), (1.1, "b\r\n"), (60.0, "c\r\n"), (60.1, ""), (61.0, "\x1b[0m")]

    found = frames(written, "program")

    assert [at for at, _ in found] == pytest.approx([0.0, 1.0, 1.1 + PAUSE_SECONDS])
    assert ["".join(character for character, _ in line) for line in found[-1][1]] == ["$ program", "a", "b", "c"]


def test_the_picture_is_xml_with_a_frame_for_each_moment() -> None:
    """It has no script and loads nothing; marks of XML in the text are text."""
    text = picture(frames([(1.0, "<b>&\r\n"), (3.0, "end\r\n")], "program"))

    root = ElementTree.fromstring(text)
    shown = ["".join(group.itertext()).split("\n") for group in root if group.tag.endswith("}g")]

    assert len(shown) == 3
    assert "<b>&" in "".join(shown[-1])
    assert f"{1.0 + PAUSE_SECONDS + LAST_SECONDS:.2f}s" in text
    assert "script" not in text
    assert "href" not in text


def test_a_program_is_recorded_in_a_terminal() -> None:
    """As a person would see it: it has a terminal of the picture's size."""
    command = [sys.executable, "-c", "import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns)"]

    written = "".join(text for _, text in recorded(command))

    assert written == f"True {COLUMNS}\r\n"
