"""Faults that the simulation has to find: each is one piece of the product's source, or of a statement, replaced."""

import contextlib
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest.mock import patch

from fairlane import sweeper
from fairlane.store import bulks, claiming, deliveries, locked, settling, tasks
from fairlane.store.sqlite import asking
from fairlane.store.statements import Statement, load_statements
from fairlane.worker import child
from tests.simulation import database
from tests.simulation.database import changes_or_locks


class Fault(NamedTuple):
    """One piece of the source of a function replaced, in the module or class where it is looked up."""

    place: Any
    function: str
    old: str
    new: str


class StatementFault(NamedTuple):
    """One piece of a statement replaced."""

    dialect: str
    statement: str
    old: str
    new: str


FAULTS: dict[str, Fault | StatementFault] = {
    "frees a slot and leaves its lease": Fault(
        settling, "end_leases", 'change("delete_leases", leases, leases=leases),', ""
    ),
    "reads limits and counts before the lock": StatementFault(
        "postgres", "lock_organizations", "FOR NO KEY UPDATE", ""
    ),
    "ignores priorities": Fault(
        claiming, "_pick", "sorted(entries, key=_in_order)", "sorted(entries, key=lambda entry: -entry.seq)"
    ),
    "tries again without a pause": Fault(settling, "end_leases", "due_at = now + after.pause_ms", "due_at = now"),
    "accepts a used key": Fault(
        tasks, "refusal_of", "(organization.id, task.idempotency_key) in used", "organization.id in used"
    ),
    "owes deliveries in no transaction": Fault(
        settling, "write_outcomes", "yield from owe_deliveries(transaction, told)", "pass"
    ),
    "returns orphans in the first sweep only": Fault(
        sweeper.Sweeper, "_sweep",
        "returned = await _exhaust(",
        'returned = 0 if self.__dict__.setdefault("first", now) != now else await _exhaust(',
    ),
    "does not count the attempt of a lost worker": Fault(
        settling, "aftermath", 'ending = Failed(cause=LOST_CAUSE, pause_ms=0)', "return Requeued(attempt - 1)"
    ),
    "starts tasks in the slots of calls": Fault(
        locked.LockedOrganization, "slots_left", "self.slots_max - self.used()", "self.slots_max - self.processing"
    ),
    "spins until a killed child is gone": Fault(child.Child, "_end_overdue", "return  # Its", "continue  # Its"),
    "charges twice": Fault(
        settling, "_complete", "organization.spend(cost)", "organization.spend(2 * cost)"
    ),
    "ignores weights": Fault(
        locked.LockedOrganization, "charge", "charged(self.virtual_time, milliseconds, self.weight)",
        "charged(self.virtual_time, milliseconds, 1)",
    ),
    "serves the organization that got most": Fault(
        claiming, "_lease", "organization.charge(estimate_ms * count)", "organization.charge(-estimate_ms * count)"
    ),
    "forgets that a task was canceled": Fault(settling, "end_leases", "lease.canceled_at is not None", "False"),
    "sends a message again without a pause": Fault(
        deliveries, "_end", "now + max(pause_ms, one.wait_ms)", "now"
    ),
    "runs a task again that was run again": Fault(
        bulks, "_retry", "known.get(one.id) or _reason(", "_reason("
    ),
    "counts the tasks of a bulk twice": Fault(
        bulks, "_write_place", "done=counts.done + outcome.done", "done=counts.done + 2 * outcome.done"
    ),
    "ends a bulk after its first step": Fault(
        bulks, "_write_place", "elif step.after is not None:", "elif False:"
    ),
}  # fmt: skip


@contextlib.contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant this fault; None plants none."""
    if name is None:
        yield
        return
    fault = FAULTS[name]
    if isinstance(fault, StatementFault):
        statements = dict(load_statements(fault.dialect))
        sound = statements[fault.statement]
        assert sound.sql.count(fault.old) == 1, f"{fault.old!r} stands {sound.sql.count(fault.old)} times there"
        statements[fault.statement] = Statement(sound.name, sound.sql.replace(fault.old, fault.new), sound.packed)
        changes_or_locks.cache_clear()
        try:
            place = database if fault.dialect == "postgres" else asking
            with patch.object(place, "load_statements", lambda dialect: statements):
                yield
        finally:
            changes_or_locks.cache_clear()
        return
    found = getattr(fault.place, fault.function)
    setattr(fault.place, fault.function, _mutant(found, fault.old, fault.new))
    try:
        yield
    finally:
        setattr(fault.place, fault.function, found)


def _mutant(function: Any, old: str, new: str) -> Any:
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {function.__name__}"
    names = dict(vars(inspect.getmodule(function)))
    exec(source.replace(old, new), names)
    return names[function.__name__]
