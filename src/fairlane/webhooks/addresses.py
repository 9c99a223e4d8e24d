"""Which addresses are on the public internet. Pure; called for literals in URLs and for every resolved address.

An address is public only if that is certain. Refused are IPv6 outside today's global unicast space, every block of the
IANA special-purpose registries (including the "globally reachable" ones: no receiver is there), and every wrapper
around an IPv4 address except NAT64.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ssrfguard import DEFAULT_DENIED

Address = IPv4Address | IPv6Address

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only IPv6 space assigned so far; addresses outside it are special, internal, or unassigned."""
_NAT64 = IPv6Network("64:ff9b::/96")
_HOSTS_OWN = (
    # Looks public, but on Azure it is the host of the virtual machine, which serves metadata and certificates.
    IPv4Network("168.63.129.16/32"),
)
_ISATAP = {0x0000_5EFE, 0x0200_5EFE}
"""Upper half of an interface id that contains an IPv4 address in its lower half, under any prefix."""


def is_public(address: Address) -> bool:
    """Return whether a webhook may go to this address."""
    if isinstance(address, IPv4Address):
        return DEFAULT_DENIED.match(address) is None and not any(address in network for network in _HOSTS_OWN)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        # On a network without IPv4, DNS64 returns such an address for every receiver that has no IPv6.
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_UNICAST and DEFAULT_DENIED.match(address) is None and not _is_isatap(address)


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP
