"""Jumps of the database's clock: seen by every server, applied once.

Deadlines, pauses and leases are moments of the database's clock. When that is set, they are moved along.
"""

from collections.abc import Callable, Generator

from msgspec import Struct
from msgspec.structs import replace

from fairlane.rules import jump_of
from fairlane.store.statements import Query, Rows, clock, rows


class Reading(Struct, frozen=True):
    """What one pass of one server saw."""

    now: int
    """What the database's clock answered."""
    steady_ms: tuple[int, int]
    """What this process's steady clock said before the question and after the answer."""
    jumps: int
    """How many jumps had been applied in all."""


def follow_clock(
    last: Reading | None, steady_clock: Callable[[], float]
) -> Generator[Query, Rows, tuple[Reading, int]]:
    """Read the clock; after a jump every live session has a whole lease, every attempt and every pause the time it had
    left. Returns the reading, the next one's ``last``, and the jump that was applied, or 0.

    The clock is the one that the database answers with in this transaction, so a server whose own clock is set sees
    nothing. A jump is what it went on by since our last reading beyond what passed here, forward or backward. Whoever
    finds it first counts it in the installation's row; whoever finds it counted since their own last reading, however
    much later, applies nothing and goes on from here. A database that was away makes readings rare, not wrong. Of a
    server that stood still itself the others' readings tell (:func:`jump_of`).

    All organizations are locked meanwhile: what is being claimed is committed before, or reads the clock after.
    """
    [(jumps, even_until)] = yield from rows("lock_installation")
    before = round(steady_clock() * 1_000)
    now = yield from clock()
    after = round(steady_clock() * 1_000)
    reading = Reading(now, (before, after), jumps)
    if last is None or last.jumps != jumps:
        return reading, 0
    passed_ms = before - last.steady_ms[1], after - last.steady_ms[0]
    jumped = jump_of(now - last.now, passed_ms=passed_ms, since_even_ms=now - even_until)
    if jumped:
        reading = replace(reading, jumps=jumps + 1)
        # Sessions come before organizations, as an exchange locks them.
        yield from rows("extend_sessions", now=now)
        yield from rows("lock_every_organization")
        yield from rows("move_leases", moved_ms=jumped)
        yield from rows("move_pauses", moved_ms=jumped)
        yield from rows("move_calls", moved_ms=jumped)
    yield from rows("update_clock", jumps=reading.jumps, now=now)
    return reading, jumped
