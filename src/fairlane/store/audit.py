"""What operators changed, and the recount that proves the counters against the rows they count."""

from collections.abc import Generator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from fairlane.errors import KeyRefused
from fairlane.model.organizations import AuditRow
from fairlane.model.status import Drift, Verified
from fairlane.store.locked import Lane, lock_organizations, write_organizations
from fairlane.store.memory import Memory
from fairlane.store.statements import Operation, Query, Rows, clock, rows, rows_if
from fairlane.store.tasks import counted_status, status

AFTER_ALL_IDS = "g"
"""Our ids begin with a hexadecimal digit."""
AUDIT_SHARE = 600
"""A rolling audit round takes this part of all organizations, so that every one has its turn within the hour."""


def write_audit(actor: str, action: str, subject: str, details: Any, memory: Memory) -> Operation:
    """One change by an operator, in the transaction of the change itself."""
    yield from write_audit_of(memory.new_id(), actor, action, subject, details, (yield from clock()))


def write_audit_of(audit_id: str, actor: str, action: str, subject: str, details: Any, at: int) -> Operation:
    """One change that was made at a moment which is over."""
    yield from rows(
        "insert_audit", id=audit_id, now=at, actor=actor, action=action, subject=subject,
        details=msgspec.json.encode(details).decode(),
    )  # fmt: skip


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which changes; None: any."""

    subject: str | None = None
    action: str | None = None
    actor: str | None = None


def audit_rows(
    limit: int, before: str | None = None, chosen: AuditFilter | None = None
) -> Generator[Query, Rows, list[AuditRow]]:
    """The newest changes first, those below the id ``before`` if given."""
    given = msgspec.structs.asdict(chosen or AuditFilter())
    return [
        AuditRow(id=id, at=at, actor=actor, action=action, subject=subject, details=msgspec.json.decode(details))
        for id, at, actor, action, subject, details in (
            yield from rows("find_audit", most=limit, before=before or AFTER_ALL_IDS, **given)
        )
    ]


# Recount -------------------------------------------------------------------------------------------------------------


class Counted(Struct, frozen=True):
    """Rows of the three recounts, each with what is kept beside what was counted."""

    organizations: Rows
    lanes: Rows
    turns: Rows


def recount(ids: Sequence[int] | None) -> Generator[Query, Rows, list[Drift]]:
    """Every kept count of these organizations (None: of all) that differs from its rows. Needs one snapshot."""
    if ids is None:
        ids = [row[0] for row in (yield from rows("find_organization_ids"))]
    return _drift((yield from _count(ids)))


def verified_status(organization_id: int) -> Generator[Query, Rows, Verified]:
    """One organization's status beside its recount. Needs one snapshot. Raises KeyRefused if it is not there."""
    found = yield from status(organization_id)
    if found is None:
        raise KeyRefused
    if found.concurrency is None:
        found = yield from counted_status(organization_id)
    return Verified(status=found, drift=tuple((yield from recount([organization_id]))))


def _count(ids: Sequence[int]) -> Generator[Query, Rows, Counted]:
    chosen = list(ids)
    organizations = yield from rows("recount_organizations", ids=chosen)
    lanes = yield from rows("recount_lanes", ids=chosen)
    turns = yield from rows("recount_turns", ids=chosen)
    return Counted(organizations, lanes, turns)


def _drift(counted: Counted) -> list[Drift]:
    drift, names = [], {}
    for row in counted.organizations:
        names[row[0]] = row[1]
        drift += _differences(
            row[1],
            {
                "ready": row[2:4],
                "waiting": row[4:6],
                "processing": row[6:8],
                "credits held": row[8:10],
                "credits granted": row[10:12],
                "calls": row[12:14],
                "calls ready": row[14:16],
                "call leases": row[16:18],
            },
        )
    for row in counted.lanes:
        lane, name = f"lane {row[1]}/{row[2]}", names[row[0]]
        drift += _differences(name, {f"{lane} ready": row[3:5], f"{lane} waiting": row[5:7]})
        if row[8] is not None and row[7] > row[8]:
            drift.append(Drift(organization=name, name=f"{lane} head", kept=row[7], counted=row[8]))
    for organization_id, task_type, kept, due in counted.turns:
        drift.append(Drift(organization=names[organization_id], name=f"turn {task_type}", kept=kept, counted=due))
    return drift


def _differences(organization: str, pairs: dict[str, Sequence[int]]) -> list[Drift]:
    return [
        Drift(organization=organization, name=name, kept=kept, counted=counted)
        for name, (kept, counted) in pairs.items()
        if kept != counted
    ]


def least_audited() -> Generator[Query, Rows, list[int]]:
    """The organizations whose turn in the rolling audit it is."""
    total = (yield from rows("count_organizations"))[0][0]
    return [row[0] for row in (yield from rows("find_least_audited", most=max(1, -(-total // AUDIT_SHARE))))]


def mark_audited(ids: Sequence[int], drifted: Sequence[int]) -> Operation:
    """These were audited now; those of them that drift are not vouched for until repaired."""
    yield from lock_organizations([*ids, *drifted])
    yield from rows_if("update_audited", ids, ids=list(ids), now=(yield from clock()))
    yield from rows_if("update_drifted", drifted, ids=list(drifted), drifted=1)


def find_drifted(most: int) -> Generator[Query, Rows, list[str]]:
    """Names of organizations whose counts were found to differ and are not yet repaired."""
    return [row[0] for row in (yield from rows("find_drifted", most=most))]


def repair(organization_id: int, actor: str, memory: Memory) -> Generator[Query, Rows, list[Drift]]:
    """Recount one organization under its lock, set its counters to what was counted, and say what was mended."""
    locked = yield from lock_organizations([organization_id])
    count = yield from _count([organization_id])
    drift, one, counted = _drift(count), locked[organization_id], count.organizations[0]
    yield from rows("delete_lanes", ids=[organization_id])
    yield from rows("delete_all_turns", ids=[organization_id])
    one.ready, one.processing, one.calls, one.calls_ready = counted[3], counted[7], counted[13], counted[15]
    one.calling = {row[1]: row[2] for row in (yield from rows("count_ready_calls", ids=[organization_id]))}
    one.queued = counted[3] + counted[5]
    one.credits_held, one.credits_granted = counted[9], counted[11]
    one.lanes = {(row[1], row[2]): Lane(row[4], row[6], row[8] or 0) for row in count.lanes}
    one.touched, one.turns_before = set(one.lanes), frozenset()
    yield from write_organizations(locked, memory, (yield from clock()))
    yield from rows("update_drifted", ids=[organization_id], drifted=0)
    yield from write_audit(
        actor, "organization.repaired", one.name, [msgspec.structs.asdict(entry) for entry in drift], memory
    )
    return drift


def count_states() -> Generator[Query, Rows, dict[int, int]]:
    """Tasks by how many of the four states hold for them. Only 1 may be a key."""
    return dict((yield from rows("count_states")))
