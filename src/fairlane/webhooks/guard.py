"""Where webhooks may go, as far as the URL alone shows. Pure: called when a task is submitted and again at each try.

One strict pattern reads a URL, and the connection goes to what it read (`WebhookTarget`): no second parser sees the
URL. Where a name points to is decided at the try (network.py), never here: a lookup at submission would prove nothing
about later, and would let callers query our DNS.
"""

import re
from collections.abc import Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from msgspec import Struct

from fairlane.errors import ValidationRefused
from fairlane.webhooks.addresses import Address, is_public

URL_CHARACTERS_MAX = 2_048
DEFAULT_PORTS = (range(80, 81), range(443, 444), range(1024, 65_536))

BAD_SHAPE = (
    "Must be an http or https URL of at most 2,048 ASCII characters, "
    "without user name, fragment, backslash or white space"
)
BAD_HOST = "Must name a host on the public internet"
BAD_PORT = "Must use a port that webhooks may be sent to"


class Reach(Struct, frozen=True, kw_only=True):
    """What the operator allows webhooks to reach."""

    private: bool = False
    """Whether any address and any name is allowed: for receivers on the same machine or network, and for tests."""
    ports: tuple[range, ...] = DEFAULT_PORTS
    own_hosts: frozenset[str] = frozenset()
    """Names of fairlane itself, in lower case; refused like private ones."""


class WebhookTarget(Struct, frozen=True, kw_only=True):
    """The parts of a URL, parsed once."""

    secure: bool
    host: str
    """A name in lower case, or a literal address without brackets."""
    address: Address | None
    """The literal address, or None if ``host`` is a name."""
    port: int
    authority: str
    """The Host header."""
    path: str
    """The requested path and query, as they were written."""

    @property
    def place(self) -> str:
        """Return host and port, which identify one receiver: tries are counted by them."""
        return f"{self.host}:{self.port}"


# The characters that a URL may contain. No user name, fragment, escape or non-ASCII character can be part of the host.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<authority>(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,253})(?::(?P<port>[1-9][0-9]{0,4}))?)"
    r'(?P<path>[/?][!"$-\[\]-~]*)?',  # printable, except # and backslash
    re.IGNORECASE | re.ASCII,
)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label begins with a letter: names like 127.1, 0x7f.1 and 2130706433 are addresses to some resolvers.
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?=[a-z]){_LABEL}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_LOCAL_SUFFIXES = (".localhost", ".local", ".localdomain", ".internal", ".home.arpa", ".intranet", ".lan", ".corp")


def check_url(url: str, reach: Reach, *, field: str = "webhook.url") -> WebhookTarget:
    """Split a webhook's URL into its parts, or refuse it.

    Raises:
        ValidationRefused: with one of three messages, which reveal nothing about our network.
    """
    if len(url) > URL_CHARACTERS_MAX or (match := _URL.fullmatch(url)) is None:
        raise ValidationRefused.at(field, BAD_SHAPE)
    secure = match["scheme"].lower() == "https"
    host = match["host"].lower().strip("[]")
    port = int(match["port"] or (443 if secure else 80))
    if not any(port in allowed for allowed in reach.ports):
        raise ValidationRefused.at(field, BAD_PORT)
    address = _literal(match["host"])
    if not (_is_allowed_address(address, reach) if address else _is_allowed_name(host, reach)):
        raise ValidationRefused.at(field, BAD_HOST)
    path = match["path"] or "/"
    return WebhookTarget(
        secure=secure,
        host=host,
        address=address,
        port=port,
        authority=match["authority"].lower(),
        path=path if path.startswith("/") else f"/{path}",
    )


def read_ports(text: str) -> tuple[range, ...]:
    """Read ports as a setting spells them, such as ``80,443,1024-65535``.

    Raises:
        ValueError: a part is not a port or a range of ports.
    """
    ports = []
    for part in text.split(","):
        match = _PORTS.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part!r} is not a port or a range of ports")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= 65_535:
            raise ValueError(f"{part!r} is not between 1 and 65535")
        ports.append(range(first, last + 1))
    return tuple(ports)


def are_allowed(addresses: Collection[Address], reach: Reach) -> bool:
    """Return whether a name with these addresses may be connected to: one forbidden address forbids the name."""
    return bool(addresses) and (reach.private or all(is_public(address) for address in addresses))


def _literal(host: str) -> Address | None:
    """Return the address that a host spells in canonical form; other spellings are treated as names and fail."""
    try:
        address = IPv6Address(host[1:-1]) if host.startswith("[") else IPv4Address(host)
    except AddressValueError:
        return None
    return address if str(address) == host.lower().strip("[]") else None


def _is_allowed_address(address: Address, reach: Reach) -> bool:
    return reach.private or (is_public(address) and str(address) not in reach.own_hosts)


def _is_allowed_name(host: str, reach: Reach) -> bool:
    if _NAME.fullmatch(host) is None:
        return False
    # A name without a dot can only be found through the search list of our own network.
    is_local = "." not in host or host.endswith(_LOCAL_SUFFIXES) or host in reach.own_hosts
    return reach.private or not is_local
