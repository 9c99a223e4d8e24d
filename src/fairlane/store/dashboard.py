"""What the dashboard reads: everything live for all of its viewers in one snapshot, and what signs its sessions."""

from collections.abc import Generator, Sequence

from fairlane.model.live import Busy, Live, LiveOrganization, Total
from fairlane.store.logouts import find_logouts
from fairlane.store.slots import find_holders
from fairlane.store.statements import Operation, Query, Rows, rows
from fairlane.store.tasks import status

BUSIEST_MOST = 200
HOLDERS_MOST = 50
"""So many of who holds an organization's slots are shown."""


def live(organization_ids: Sequence[int], everything: bool, session_ids: Sequence[str]) -> Generator[Query, Rows, Live]:
    """Status, holders and totals of these organizations; with ``everything`` also the busiest of all, and the sums.

    An organization that is not there any more is left out. ``session_ids``: of the viewers; the result names those
    that logged out.
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


def find_secret() -> Operation:
    """What signs the sessions of the dashboard; None: nobody has made it yet."""
    return (yield from rows("find_dashboard_secret"))[0][0]


def make_secret(secret: str) -> Operation:
    """The secret that signs sessions: this one, unless another server made one before."""
    yield from rows("set_dashboard_secret", secret=secret)
    return (yield from find_secret())
