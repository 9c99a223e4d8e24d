"""Jumps of the database's clock: every server detects them, one applies them.

Deadlines, pauses and leases are times of the database's clock. When the clock is set, they are moved with it.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from fairlane.rules.clocks import jump_of, step_back
from fairlane.store.noun import Noun, Shared
from fairlane.store.statements import Operation, Row, only, run
from fairlane.store.transaction import Transaction

UNSEEN_MS = 60_000
"""How long other servers may have worked with a clock that was set before a server that starts notices it."""


class Reading(Struct, frozen=True):
    """What one pass of one server read."""

    now: int
    """The database's clock."""
    steady_ms: tuple[int, int]
    """This process's steady clock before the question and after the answer."""
    jumps: int
    """How many jumps had been applied in all."""


class InstallationRow(Row, frozen=True):
    """The installation's row: how many jumps were applied, and when the clock was last known to be even."""

    clock_jumps: int
    clock_even_until: int


class JumpStore(Noun):
    """Changes of the database's clock."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._last: Reading | None = None
        """The reading of the last pass of this server that reached the database."""

    async def follow(self, steady_clock: Callable[[], float]) -> int:
        """Detect a change of the database's clock since the last pass, and apply it if no other server has.

        Every live session then gets a full lease, every attempt, pause and open delivery the time it had left. What
        began after the change and before it was noticed is left alone where the row tells: attempts, calls, and
        deliveries that were not tried. A pause that began in between ends earlier or later by the jump.

        Returns the jump that was applied in milliseconds, or 0. ``steady_clock`` returns seconds that pass regardless
        of any clock change.
        """
        self._last, jumped_ms = await self._write(_follow, self._last, steady_clock)
        return jumped_ms


def _follow(
    transaction: Transaction, last: Reading | None, steady_clock: Callable[[], float]
) -> Operation[tuple[Reading, int]]:
    """Read the clock, and apply a jump. Return the reading, which is the next call's ``last``, and the jump, or 0.

    The clock is the one that the database answers with in this transaction, so a change of a server's own clock has no
    effect. A jump is the difference between the database's clock and this process's steady clock since the last
    reading, forward or backward. The first server that notices a jump applies it and increments the counter. Servers
    that find a higher counter do nothing, however late, and continue from this reading. An outage makes readings rare,
    not wrong. A server's first reading shows a step back that no server saw, because the last one wrote how far the
    clock had come. If this server was suspended, the other servers' readings show that the clock did not jump
    (:func:`jump_of`).

    All organizations are locked meanwhile: a claim commits before that, or reads the clock after it.
    """
    installation = yield from only("lock_installation", into=InstallationRow)
    jumps = installation.clock_jumps
    before = round(steady_clock() * 1_000)
    now = yield from transaction.read_clock()
    after = round(steady_clock() * 1_000)
    reading = Reading(now, (before, after), jumps)
    even_until = installation.clock_even_until
    if last is None:
        jumped = step_back(now, even_until)
        if not jumped:
            return reading, 0
    elif last.jumps != jumps:
        return reading, 0
    else:
        passed_ms = before - last.steady_ms[1], after - last.steady_ms[0]
        jumped = jump_of(now - last.now, passed_ms=passed_ms, since_even_ms=now - even_until)
    if jumped:
        reading = replace(reading, jumps=jumps + 1)
        # Sessions come before organizations, as in an exchange.
        yield from run("extend_sessions", now=now)
        yield from run("lock_every_organization")
        # The clock that was set shows no earlier moment than this. A server that starts does not know how long ago that
        # was, and others may have given leases since: to move one of those would end it, to leave one behind does not.
        since = max(last.now, even_until) + jumped if last else now - UNSEEN_MS
        yield from run("move_leases", moved_ms=jumped, since=since, now=now)
        yield from run("move_pauses", moved_ms=jumped)
        yield from run("move_calls", moved_ms=jumped, since=since, now=now)
        yield from run("move_deliveries", moved_ms=jumped, since=since, now=now)
    yield from run("update_clock", jumps=reading.jumps, now=now)
    return reading, jumped
