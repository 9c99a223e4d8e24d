"""Problems in a database that may keep work from being done: one look, on one snapshot, that changes nothing.

For ``fairlane doctor``, with or without a running server.
"""

from collections.abc import Callable

import msgspec

from fairlane.errors import SetupError
from fairlane.model.diagnosis import Content
from fairlane.store.failed_starts import find_failed_starts
from fairlane.store.fleet import LaneSumsRow
from fairlane.store.maintenance import find_maintenance
from fairlane.store.recount import recount
from fairlane.store.statements import Operation, Row, clock, only, rows
from fairlane.store.webhook_secrets import all_secrets

RECOUNT_MOST = 20
"""Organizations that one look recounts: those with the oldest last recount."""
NAMED_MOST = 1_000


class NamedRow(Row, frozen=True):
    """A plan or an organization."""

    noun: str
    name: str


class FlaggedRow(Row, frozen=True):
    """An organization that is drifted, paused or disabled."""

    name: str
    drifted: int
    paused: int
    disabled: int


class LivingRow(Row, frozen=True):
    """A live session, and its types as JSON."""

    name: str
    types: str


def look(open_secret: Callable[[str], str]) -> Operation[Content]:
    """Return the content of the database. Needs one snapshot.

    ``open_secret`` raises SetupError for a secret that the configured key does not open.
    """
    now = yield from clock()
    without: dict[str, list[str]] = {"plan": [], "organization": []}
    for planned in (yield from rows("find_planned_without_slots", into=NamedRow)):
        without[planned.noun].append(planned.name)
    flagged = yield from rows("find_flagged", into=FlaggedRow, most=NAMED_MOST)
    chosen = yield from rows("find_least_audited", into=int, most=RECOUNT_MOST)
    drift = yield from recount(chosen)
    served: dict[str, int] = {}
    servers: list[str] = []
    for session in (yield from rows("find_living", into=LivingRow, now=now)):
        types = msgspec.json.decode(session.types, type=list[str])
        if not types:
            servers.append(session.name)
        for task_type in types:
            served[task_type] = served.get(task_type, 0) + 1
    queued = {lane.task_type: lane.ready for lane in (yield from rows("sum_lanes", into=LaneSumsRow)) if lane.ready}
    secrets = yield from all_secrets()
    return Content(
        plans_without_slots=tuple(without["plan"]),
        organizations=(yield from only("count_organizations", into=int)),
        organizations_without_slots=tuple(without["organization"]),
        drifted=tuple(row.name for row in flagged if row.drifted),
        paused=tuple(row.name for row in flagged if row.paused),
        disabled=tuple(row.name for row in flagged if row.disabled),
        maintenance=(yield from find_maintenance()),
        recounted=len(chosen),
        drift=tuple(drift),
        served=served,
        queued=queued,
        failed_starts=(yield from find_failed_starts()),
        servers=tuple(servers),
        secrets=len(secrets),
        secrets_closed=sum(not _opens(open_secret, kept) for kept in secrets),
    )


def _opens(open_secret: Callable[[str], str], kept: str) -> bool:
    try:
        open_secret(kept)
    except SetupError:
        return False
    return True
