"""How many requests of an organization one of several servers lets pass in a second. Pure.

An organization's rate limit holds for all servers together, but no request asks another server. Each server tells the
others once a second what it counted, and takes its share of the limit from what they told.
"""

from collections.abc import Mapping

from msgspec import Struct

RequestKey = tuple[int, str]
"""An organization and the path of an endpoint."""
RequestCounts = Mapping[RequestKey, int]
"""Requests in one second, passed and refused."""

UNTOLD_SHARE = 0.1
"""Largest part of a limit that all servers together may leave untold."""


class OtherServers(Struct, frozen=True):
    """What the other servers told."""

    servers: int = 1
    """How many servers are alive, with this one."""
    counts: RequestCounts = {}


def worth_telling(count: int, limit: int, servers: int) -> bool:
    """Return whether other servers need to know this count: small counts of all servers do not add up to much."""
    return count * servers > limit * UNTOLD_SHARE


def allowance(limit: int, *, mine: int, others: int, servers: int) -> int:
    """Return how many requests this server lets pass in this second.

    ``mine`` and ``others`` are the requests of the last second here and at all other servers. A server may use what the
    others leave. If there were more requests than the limit, it has the share of the limit that it had of the requests.
    A server that had none takes an equal share at first.
    """
    if not others:
        return limit
    share = limit * mine / (mine + others) if mine else limit / servers
    return max(limit - others, round(share), 1)
