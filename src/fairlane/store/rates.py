"""What servers on one database tell each other of organizations' requests, once a second: hints for rate limits.

A row for each live server. Nothing is read or written for a request.
"""

import msgspec

from fairlane.rules.rates import OtherServers, RequestCounts
from fairlane.store.noun import Noun, Shared
from fairlane.store.statements import Operation, Row, clock, rows, run
from fairlane.store.transaction import Transaction

FRESH_MS = 3_000
"""How long counts hold. A server with counts to tell writes once a second."""
ALIVE_MS = 60_000
"""How long a server counts as alive after it wrote."""
REPEAT_MS = 20_000
"""How often a server without counts writes that it is alive."""

_counts = msgspec.json.Decoder(list[tuple[int, str, int]])


class RequestCountRow(Row, frozen=True):
    """What one server told; the counts are JSON."""

    at: int
    counts: str


class RateStore(Noun):
    """Requests at the servers of this database."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._server_id = shared.config.new_id()
        self._told: RequestCounts = {}
        """What this server wrote last."""
        self._told_at = 0
        """When it did, by the database's clock."""

    async def exchange(self, counts: RequestCounts) -> OtherServers:
        """Tell the other servers what this server counted in the last second, and return what they told.

        The only server of a database tells nothing. A server without counts writes only now and then.
        """
        if self._database.exclusive:
            return OtherServers()
        quiet = not counts and not self._told and 0 <= self._database.now() - self._told_at < REPEAT_MS
        if not quiet:
            self._told_at = await self._write(_tell, self._server_id, counts)
            self._told = counts
        return await self._database.read(find_others(self._server_id))


def _tell(transaction: Transaction, server_id: str, counts: RequestCounts) -> Operation[int]:
    now = yield from transaction.read_clock()
    told = [(organization_id, endpoint, count) for (organization_id, endpoint), count in counts.items()]
    text = msgspec.json.encode(told).decode()
    yield from run("upsert_request_counts", server_id=server_id, now=now, counts=text)
    yield from run("delete_request_counts", earliest=now - 2 * ALIVE_MS, latest=now + 2 * ALIVE_MS)
    return now


def find_others(server_id: str) -> Operation[OtherServers]:
    """Read what the other live servers told, with the counts of each organization and endpoint summed."""
    now = yield from clock()
    found = yield from rows(
        "find_request_counts",
        into=RequestCountRow,
        server_id=server_id,
        earliest=now - ALIVE_MS,
        latest=now + ALIVE_MS,
    )
    summed: dict[tuple[int, str], int] = {}
    for row in found:
        if abs(now - row.at) <= FRESH_MS:
            for organization_id, endpoint, count in _counts.decode(row.counts):
                summed[organization_id, endpoint] = summed.get((organization_id, endpoint), 0) + count
    return OtherServers(1 + len(found), summed)
