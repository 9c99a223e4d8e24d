"""How often a login may be tried: failed tries are counted for each address, successful logins for each key.

``surface.py`` asks it before a key is looked up. Counts belong to this server and are bounded in memory. No count locks
anyone out: each refills by itself, one try every few seconds. A key that was recently accepted from an address is still
looked up for that address when others have used up its tries.
"""

import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fairlane.api.http import Request
from fairlane.bounded import Bounded
from fairlane.errors import LoginLimited

BURST = 20
"""Most tries at once, after a while without any."""
REFILL_SECONDS = 3.0
"""After a burst, seconds until each further try."""
NAMES_MOST = 10_000
"""Most addresses, most keys, and most pairs of both that are remembered; the least recently used one is dropped."""
HOPS_MOST = 10
"""Most proxies in a row that are skipped."""
NETWORK_BITS_V6 = 64
"""Size of an IPv6 network that counts as one address, because one subscriber has at least such a network."""


class Meter:
    """Counts by name: ``BURST`` at once, then one every ``REFILL_SECONDS``."""

    def __init__(self) -> None:
        self.paid_until: Bounded[str, float] = Bounded(NAMES_MOST)
        """When the count of a name will be back at 0, the least recently used first."""

    def take(self, name: str, now: float) -> bool:
        """Count one more, or return False and count nothing if none is left."""
        paid_until = max(now, self.paid_until.get(name, now))
        free = paid_until + REFILL_SECONDS <= now + BURST * REFILL_SECONDS
        self.paid_until[name] = paid_until + REFILL_SECONDS if free else paid_until
        return free

    def give_back(self, name: str) -> None:
        """Count one less."""
        if name in self.paid_until:
            self.paid_until[name] -= REFILL_SECONDS


class Tries:
    """The logins of one listener. ``clock`` is steady, in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.failed = Meter()
        self.opened = Meter()
        self.trusted: Bounded[tuple[str, str], None] = Bounded(NAMES_MOST)
        """Addresses with the digest of a key that was accepted from there, the least recently used first."""

    def begin(self, address: str, digest: str) -> None:
        """Count a try before its key is looked up, so that simultaneous tries share what is left.

        Raises:
            LoginLimited: too many tries from this address failed recently, and this key was not accepted from there
                recently.
        """
        if (address, digest) not in self.trusted and not self.failed.take(address, self.clock()):
            raise LoginLimited

    def fail(self, address: str, digest: str) -> None:
        """Record that the key was not accepted, so that the next try with it also counts."""
        self.trusted.pop((address, digest), None)

    def open(self, address: str, digest: str) -> None:
        """Record that the key was accepted, so that this try does not count as failed.

        Raises:
            LoginLimited: too many sessions were opened with this key recently.
        """
        if (address, digest) not in self.trusted:
            self.failed.give_back(address)
        self.trusted[address, digest] = None
        if not self.opened.take(digest, self.clock()):
            raise LoginLimited


def caller_address(request: Request, proxies: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return the address that a request comes from: the peer's own, or what our proxies report about theirs.

    ``X-Forwarded-For`` is read from its end, where each proxy adds the peer that it saw, as long as the address so far
    is one of ``proxies``. What a caller wrote into the header is further left and is not reached.
    """
    found = request.client or ""
    # A caller may fill the header with anything; only its end is read.
    said = ",".join(request.every_header(b"x-forwarded-for")).rsplit(",", HOPS_MOST)[-HOPS_MOST:]
    address = _parsed(found)
    while said and address is not None and any(address in one for one in proxies):
        further = _parsed(said.pop().strip())
        if further is None:
            break
        address = further
    if address is None:
        return found
    if isinstance(address, IPv6Address):
        return str(ip_network((address, NETWORK_BITS_V6), strict=False))
    return str(address)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, with IPv4 inside IPv6 as IPv4, or None if it is not one, as for the peer of a unix socket."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
