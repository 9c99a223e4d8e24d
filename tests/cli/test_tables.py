"""Tables of commands on a narrow terminal."""

from rich.cells import cell_len

from fairlane.cli.tables import packed

COLUMNS = ("TASK", "ORGANIZATION", "TYPE", "FAILURE", "ATTEMPTS", "CREATED")
ROW = ("01a23042-47c0-72d3-accc-cf35334b7e12", "acme", "IMPORT_ROWS", None, 1, "2026-12-01 06:20:11")


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
