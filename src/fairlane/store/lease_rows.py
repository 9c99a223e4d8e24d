"""Leases as rows: the fields that settling needs, and the id that says where the row is.

Used by ``leases.py`` and ``calls.py``.
"""

from collections.abc import Sequence

from fairlane.model.leases import Ending, Lost, Released
from fairlane.store.locked import LockedOrganization
from fairlane.store.statements import Query, Row, query
from fairlane.store.transaction import Transaction

Place = tuple[int, str, str]
"""Where a lease's row is, and its expected id: (organization id, task or call id, lease id)."""

CALL = 1
"""The kind of a lease that a call holds; a task's is 0."""


class HeldLease(Row, frozen=True):
    """A lease row, as settling needs it."""

    organization_id: int
    task_id: str
    """For a call, the call's id."""
    id: str
    task_type: str
    rank: int
    seq: int
    cost: int
    attempt: int
    attempts: int
    estimate_ms: int
    first_started_at: int
    started_at: int
    deadline_at: int
    session_id: str
    webhook: int
    """Whether a webhook message is owed when this task ends."""
    kind: int
    canceled_at: int | None
    """When its organization asked to cancel it, or None."""
    starts: int
    """How many times its task was started, this one included."""
    slot_wait_ms: int
    """How long its task waited for a slot, and for a worker, before this start and earlier ones."""
    worker_wait_ms: int


def lease_id(organization_id: int, task_id: str, fence: str) -> str:
    """Return a lease's public id: where its row is, and the fence that only its holder knows."""
    return f"{organization_id}.{task_id}.{fence}"


def lease_place(lease: str) -> Place | None:
    """Return (organization id, task id, the whole id) of a lease id, or None if it is not one of this product."""
    organization_id, _, rest = lease.partition(".")
    task_id, _, fence = rest.partition(".")
    if not (organization_id.isascii() and organization_id.isdecimal() and len(organization_id) < 19 and fence):
        return None
    return int(organization_id), task_id, lease


def query_leases(places: Sequence[Place]) -> Query[HeldLease]:
    """Return the query for those of these leases that still hold their slot."""
    return query("find_leases", places, into=HeldLease, leases=places)


def correct(transaction: Transaction, organization: LockedOrganization, lease: HeldLease, ending: Ending) -> None:
    """Replace the estimate that was charged at the pick by the real duration of the attempt.

    The duration of a lost attempt is unknown, so its estimate stays. Time after its deadline does not count.
    """
    if isinstance(ending, Lost):
        return
    took_ms = max(0, min(transaction.now, lease.deadline_at) - lease.started_at)
    if not isinstance(ending, Released) and lease.canceled_at is None:
        transaction.memory.observe(lease.task_type, [took_ms])
    organization.charge(took_ms - lease.estimate_ms)
