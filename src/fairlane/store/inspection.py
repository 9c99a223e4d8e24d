"""Problems in a database that may keep work from being done: one look, on one snapshot, that changes nothing.

For ``fairlane doctor``, with or without a running server.
"""

from collections.abc import Callable

import msgspec

from fairlane.errors import SetupError
from fairlane.model.diagnosis import Content
from fairlane.store.maintenance import find_maintenance
from fairlane.store.recount import recount
from fairlane.store.statements import Operation, clock, rows
from fairlane.store.webhook_secrets import all_secrets

RECOUNT_MOST = 20
"""Organizations that one look recounts: those with the oldest last recount."""
NAMED_MOST = 1_000


def look(open_secret: Callable[[str], str]) -> Operation[Content]:
    """Return the content of the database. Needs one snapshot.

    ``open_secret`` raises SetupError for a secret that the configured key does not open.
    """
    now = yield from clock()
    without: dict[str, list[str]] = {"plan": [], "organization": []}
    for noun, name in (yield from rows("find_planned_without_slots")):
        without[noun].append(name)
    flagged = yield from rows("find_flagged", most=NAMED_MOST)
    chosen = [row[0] for row in (yield from rows("find_least_audited", most=RECOUNT_MOST))]
    drift = yield from recount(chosen)
    served: dict[str, int] = {}
    servers: list[str] = []
    for name, types in (yield from rows("find_living", now=now)):
        found: list[str] = msgspec.json.decode(types)
        if not found:
            servers.append(name)
        for task_type in found:
            served[task_type] = served.get(task_type, 0) + 1
    queued = {task_type: ready for task_type, ready, _ in (yield from rows("sum_lanes")) if ready}
    secrets = yield from all_secrets()
    return Content(
        plans_without_slots=tuple(without["plan"]),
        organizations=(yield from rows("count_organizations"))[0][0],
        organizations_without_slots=tuple(without["organization"]),
        drifted=tuple(name for name, drifted, _, _ in flagged if drifted),
        paused=tuple(name for name, _, paused, _ in flagged if paused),
        disabled=tuple(name for name, _, _, disabled in flagged if disabled),
        maintenance=(yield from find_maintenance()),
        recounted=len(chosen),
        drift=tuple(drift),
        served=served,
        queued=queued,
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
