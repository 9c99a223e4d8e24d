"""The dashboard's reads: the live state for all viewers in one snapshot, and the secret that signs sessions."""

from collections.abc import Sequence

from fairlane.model.live import Busy, Live, LiveOrganization, Total
from fairlane.store.logouts import find_logouts
from fairlane.store.slots import find_holders
from fairlane.store.statements import Operation, rows
from fairlane.store.tasks import status

BUSIEST_MOST = 200
HOLDERS_MOST = 50
"""Most holders of an organization's slots that are shown."""


def live(organization_ids: Sequence[int], everything: bool, session_ids: Sequence[str]) -> Operation[Live]:
    """Return status, holders and totals of these organizations; with ``everything`` also the busiest of all, and the
    sums.

    An organization that no longer exists is left out. ``session_ids`` are those of the viewers; the result names the
    sessions that were ended.
    """
    ended = yield from find_logouts(session_ids)
    watched = {}
    for organization_id in organization_ids:
        one = yield from status(organization_id)
        if one is None:
            continue
        [totals] = yield from rows("find_totals", id=organization_id)
        # One more than is shown tells whether there are more.
        held = yield from find_holders(organization_id, "", HOLDERS_MOST + 1)
        watched[organization_id] = LiveOrganization(one, held[:HOLDERS_MOST], len(held) > HOLDERS_MOST, *totals)
    if not everything:
        return Live(watched, ended)
    busiest = [
        Busy(*row[:6], *map(bool, row[6:10]), *row[10:]) for row in (yield from rows("find_busiest", most=BUSIEST_MOST))
    ]
    [sums] = yield from rows("sum_organizations")
    return Live(watched, ended, tuple(busiest), Total(*map(int, sums)))


def find_secret() -> Operation[str | None]:
    """Return the secret that signs the sessions of the dashboard, or None if no server has made it yet."""
    [(secret,)] = yield from rows("find_dashboard_secret")
    return None if secret is None else str(secret)


def make_secret(secret: str) -> Operation[str | None]:
    """Store this secret, unless another server has stored one before; return the stored secret."""
    yield from rows("set_dashboard_secret", secret=secret)
    return (yield from find_secret())
