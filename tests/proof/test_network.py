"""A few cells of the matrix of network faults, its controls, and where messages end."""

import struct
from pathlib import Path

from tests import postgres
from tests.proof.network import bench, database_cells, http_cells, planted
from tests.proof.proxy import Fault, HttpMessages, Point, PostgresMessages, Statements


def cells_of(operations: tuple[str, ...], *, quick: tuple[Fault, ...] = (Fault.CUT, Fault.TWICE, Fault.LATE)) -> list:
    """The cells of HTTP of these operations, but for those that wait."""
    return [cell for cell in http_cells("HTTP") if cell.operation in operations and cell.fault in quick]


def test_no_fault_of_http_breaks_a_promise(tmp_path: Path) -> None:
    """Each message of three operations is cut, doubled, and late (I1, I2, I9)."""
    with bench(tmp_path, None) as made:
        verdicts = [made.run(cell) for cell in cells_of(("submit", "exchange", "report"))]

    assert len(verdicts) == 18
    assert [(str(one.cell), one.problems) for one in verdicts if one.problems] == []


def test_a_worker_that_repeats_an_exchange_with_another_id_is_caught(tmp_path: Path) -> None:
    """The control: the leases of the lost answer stay taken, and no worker knows them."""
    with bench(tmp_path, None) as made, planted("no-id"):
        verdicts = [made.run(cell) for cell in cells_of(("exchange",), quick=(Fault.CUT,))]

    lost = [one for one in verdicts if not one.cell.point.up]
    assert all("a slot is taken that no worker knows" in one.problems[0] for one in lost)
    assert [one.problems for one in verdicts if one.cell.point.up] == [[], []]


def test_no_fault_around_a_commit_breaks_a_promise(tmp_path: Path) -> None:
    """PostgreSQL's line is cut before COMMIT arrives, after it was run, and before its answer is there. The control: a
    server that takes a commit without an answer for done."""
    database = postgres.lend()
    broken: dict[str | None, list[str]] = {}
    with bench(tmp_path, database) as made:
        cells = []
        for operation, [exchange, *_] in made.exchanges(["unkeyed", "report"]).items():
            _, requests, answers = exchange
            points = (Point(True, requests - 4), Point(True, requests - 1), Point(False, answers - 1))
            cells += [cell for cell in database_cells({operation: [exchange]}) if cell.point in points]
        cells = [cell for cell in cells if cell.fault is Fault.CUT]
        for plant in (None, "trust"):
            with planted(plant):
                verdicts = [made.run(cell) for cell in cells]
            broken[plant] = sorted({one.cell.operation for one in verdicts if one.problems})
    postgres.give_back(database)

    assert len(cells) == 6
    assert broken == {None: [], "trust": ["report", "unkeyed"]}


def test_messages_of_http_end_where_their_heads_say() -> None:
    """With a length, in chunks, without a body; in any pieces."""
    texts = [
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
    messages = HttpMessages()

    found = [one for byte in b"".join(texts) for one in messages.feed(bytes([byte]))]

    assert found == texts


def test_messages_of_postgresql_are_numbered_within_their_exchange() -> None:
    """A transaction is one exchange to its commit; Parse has no number of its own."""

    def message(kind: bytes, body: bytes = b"") -> bytes:
        return kind + struct.pack("!i", len(body) + 4) + body

    greeting = struct.pack("!i", 8) + b"\0\3\0\0"
    begin, commit = (message(b"B", b"\0" + name + b"\0") for name in (b"begin", b"commit"))
    sent = [message(b"P", b"begin\0"), begin, message(b"E"), message(b"S"), commit, message(b"E"), message(b"S")]
    splitter, statements, ended = PostgresMessages(greeted=False), Statements(), []
    statements.ended = lambda *exchange: ended.append(exchange)

    found = list(splitter.feed(greeting + b"".join(sent)))
    numbered = [statements.request(one) for one in found]

    assert found == [greeting, *sent]
    assert [one.number for one in numbered] == [-1, 0, 0, 1, 2, 3, 4, 5]
    assert [one.names for one in numbered[-2:]] == [("begin", "commit")] * 2
    assert ended == [(("begin", "commit"), 6, 2)]
