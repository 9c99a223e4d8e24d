"""The dashboard's reads: the live state for all viewers in one snapshot, and the secret that signs sessions."""

import secrets
from collections.abc import Sequence

from msgspec.structs import replace

from fairlane.model.live import Busy, Live, LiveOrganization, Total
from fairlane.store.logouts import find_logouts
from fairlane.store.noun import Noun
from fairlane.store.slots import find_holders
from fairlane.store.statements import Operation, Row, only, rows, run
from fairlane.store.tasks import counted_status, status
from fairlane.store.transaction import Transaction

BUSIEST_MOST = 300
HOLDERS_MOST = 50
"""Most holders of an organization's slots that are shown."""


class EndTotalsRow(Row, frozen=True):
    """Running totals of one organization."""

    submitted: int
    completed: int
    failed: int


class SecretRow(Row, frozen=True):
    """The secret that signs the dashboard's sessions, or None."""

    dashboard_secret: str | None


class DashboardStore(Noun):
    """What the dashboard shows, and the secret of its sessions."""

    async def live(self, organization_ids: Sequence[int], *, everything: bool, session_ids: Sequence[str]) -> Live:
        """Return status, holders and totals of these organizations, in one snapshot.

        With ``everything`` also the busiest of all organizations, and the sums. An organization that no longer exists
        is left out. ``session_ids`` are those of the viewers; the result names the sessions that were ended. While an
        organization's counters are in doubt, its two counts are taken from the rows, a moment later.
        """
        found = await self._database.snapshot(live(organization_ids, everything, session_ids))
        watched = dict(found.organizations)
        for organization_id, one in found.organizations.items():
            if one.status.concurrency is None:
                counted = await self._database.walk(counted_status(organization_id), share=organization_id)
                watched[organization_id] = replace(one, status=counted)
        return replace(found, organizations=watched)

    async def secret(self) -> str:
        """Return the secret that signs the dashboard's sessions, the same at every server on this database."""
        found = await self._database.read(find_secret())
        return await self._write(_make_secret, secrets.token_hex(32)) if found is None else found


def live(organization_ids: Sequence[int], everything: bool, session_ids: Sequence[str]) -> Operation[Live]:
    """Read the live state; counts in doubt are left as they are."""
    ended = yield from find_logouts(session_ids)
    watched = {}
    for organization_id in organization_ids:
        one = yield from status(organization_id)
        if one is None:
            continue
        totals = yield from only("find_totals", into=EndTotalsRow, id=organization_id)
        # One more than is shown tells whether there are more.
        held = yield from find_holders(organization_id, "", HOLDERS_MOST + 1)
        watched[organization_id] = LiveOrganization(
            status=one,
            slots=held[:HOLDERS_MOST],
            slots_bounded=len(held) > HOLDERS_MOST,
            submitted=totals.submitted,
            completed=totals.completed,
            failed=totals.failed,
        )
    if not everything:
        return Live(watched, ended)
    busiest = yield from rows("find_busiest", into=Busy, most=BUSIEST_MOST)
    total = yield from only("sum_organizations", into=Total)
    return Live(watched, ended, tuple(busiest), total)


def find_secret() -> Operation[str | None]:
    """Read the secret, or None if no server has made it yet."""
    return (yield from only("find_dashboard_secret", into=SecretRow)).dashboard_secret


def _make_secret(transaction: Transaction, secret: str) -> Operation[str]:
    """Store this secret, unless another server has stored one before; return the stored secret."""
    yield from run("set_dashboard_secret", secret=secret)
    stored = yield from find_secret()
    assert stored is not None
    return stored
