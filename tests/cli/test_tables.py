"""Tables of commands on a narrow terminal."""

import io
import sys

import pytest
from rich.cells import cell_len

from fairlane.cli.tables import packed, print_table

COLUMNS = ("TASK", "ORGANIZATION", "TYPE", "FAILURE", "ATTEMPTS", "CREATED")
ROW = ("01a23042-47c0-72d3-accc-cf35334b7e12", "acme", "IMPORT_ROWS", None, 1, "2026-12-01 06:20:11")


class Terminal(io.StringIO):
    """A terminal that keeps what is written."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def test_a_row_that_does_not_fit_is_packed_and_nothing_is_cut_off() -> None:
    """As names and values, as many in a line as fit; what is not known is left out; one long value may stand alone."""
    wide, narrow, tiny = (packed(COLUMNS, ROW, width).plain for width in (200, 80, 20))

    assert narrow == (
        "TASK 01a23042-47c0-72d3-accc-cf35334b7e12  ORGANIZATION acme  TYPE IMPORT_ROWS\n"
        "  ATTEMPTS 1  CREATED 2026-12-01 06:20:11"
    )
    assert "\n" not in wide
    assert all(cell_len(line) <= 80 for line in narrow.splitlines())
    assert [str(value) in tiny for value in ROW if value is not None] == [True] * 5


def test_a_table_that_fits_stays_one_and_a_last_text_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only rows that fit in no way are written as names and values."""
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # without styles
    monkeypatch.setattr(sys, "stdout", terminal)

    print_table(["CHECK", "STATE"], [["database", "ok"]], empty="")
    print_table(["CHECK", "STATE", "SEEN"], [["database", "ok", "word " * 20 + "end"]], empty="")
    print_table(COLUMNS, [ROW], empty="")

    lines = [line.rstrip() for line in terminal.getvalue().splitlines()]
    assert lines[2] == "database   ok"
    assert [line.split()[0] for line in lines[5:7]] == ["database", "word"]
    assert lines[6].startswith(" " * 19)
    assert lines[-2].startswith("TASK 01a23042-47c0-72d3-accc-cf35334b7e12  ORGANIZATION acme")
    assert all(cell_len(line) <= 80 and "…" not in line for line in lines)
