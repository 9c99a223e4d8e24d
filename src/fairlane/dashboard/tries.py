"""How often a login may be tried: for each address the tries that fail, for each key the logins that succeed.

``surface.py`` asks it before a key is looked up. Counts are this server's own and bounded in memory. No count is ever a
lock: each refills by itself, one try every few seconds, and a key that was accepted from an address lately is still
looked up for that address when others have used up its tries.
"""

import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fairlane.api.http import Request
from fairlane.errors import LoginLimited

BURST = 20
"""Tries at once, after a while without any."""
REFILL_SECONDS = 3.0
"""After that, seconds for each further try."""
NAMES_MOST = 10_000
"""Most addresses, most keys, and most pairs of both that are remembered; the least lately used one makes room."""
HOPS_MOST = 10
"""Most proxies in a row that are looked through."""
NETWORK_BITS_V6 = 64
"""One subscriber has at least so many addresses of IPv6: they count as one."""


class Meter:
    """Counts by name: ``BURST`` at once, then one every ``REFILL_SECONDS``."""

    def __init__(self) -> None:
        self._paid_until: dict[str, float] = {}
        """When the count of a name will be back at nothing, the least lately used first."""

    def take(self, name: str, now: float) -> bool:
        """Count one more; False: there is none left, and nothing was counted."""
        paid_until = max(now, self._paid_until.pop(name, now))
        free = paid_until + REFILL_SECONDS <= now + BURST * REFILL_SECONDS
        self._paid_until[name] = paid_until + REFILL_SECONDS if free else paid_until
        if len(self._paid_until) > NAMES_MOST:
            del self._paid_until[next(iter(self._paid_until))]
        return free

    def give_back(self, name: str) -> None:
        """Count one less."""
        if name in self._paid_until:
            self._paid_until[name] -= REFILL_SECONDS


class Tries:
    """The logins of one listener. ``clock`` is steady, in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._failed = Meter()
        self._opened = Meter()
        self._trusted: dict[tuple[str, str], None] = {}
        """Addresses with the digest of a key that was accepted from there, the least lately used first."""

    def begin(self, address: str, digest: str) -> None:
        """Count a try before its key is looked up: tries at the same time share what is left.

        Raises:
            LoginLimited: too many from this address failed lately, and this key was not accepted from there lately.
        """
        if (address, digest) not in self._trusted and not self._failed.take(address, self.clock()):
            raise LoginLimited

    def fail(self, address: str, digest: str) -> None:
        """The key was not accepted: the next try with it counts, too."""
        self._trusted.pop((address, digest), None)

    def open(self, address: str, digest: str) -> None:
        """The key was accepted: this try was none that failed.

        Raises:
            LoginLimited: too many sessions were opened with this key lately.
        """
        if (address, digest) not in self._trusted:
            self._failed.give_back(address)
        self._trusted.pop((address, digest), None)
        self._trusted[address, digest] = None
        if len(self._trusted) > NAMES_MOST:
            del self._trusted[next(iter(self._trusted))]
        if not self._opened.take(digest, self.clock()):
            raise LoginLimited


def caller_address(request: Request, proxies: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return the address that a request comes from: the peer's own, or what our proxies say of theirs.

    ``X-Forwarded-For`` is read from its end, where each proxy adds the peer that it saw, for as long as the address so
    far is one of ``proxies``. What a caller wrote into the header itself stands further left and is not reached.
    """
    found = request.client or ""
    # A caller may fill the header with anything; only its end is looked at.
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
    """An address, IPv4 within IPv6 as itself; None: it is none, as the other end of a unix socket."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
