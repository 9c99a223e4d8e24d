"""Which addresses are on the public internet. Pure; asked about literals in URLs and about every resolved address.

The answer is no unless it is certainly yes: IPv6 outside today's global unicast space, every block of the IANA
special-purpose registries (those that are "globally reachable", too: no receiver lives there) and every wrapper
around an IPv4 address except NAT64 are refused.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ssrfguard import DEFAULT_DENIED

Address = IPv4Address | IPv6Address

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""The only IPv6 space given out so far; what lies outside is special, internal, or not there."""
_NAT64 = IPv6Network("64:ff9b::/96")
_HOSTS_OWN = (
    # Looks public, but on Azure it is the host of the virtual machine, which serves metadata and certificates.
    IPv4Network("168.63.129.16/32"),
)
_ISATAP = {0x0000_5EFE, 0x0200_5EFE}
"""Upper half of an interface id whose lower half is an IPv4 address, under any prefix at all."""


def is_public(address: Address) -> bool:
    """Whether a webhook may go to this address."""
    if isinstance(address, IPv4Address):
        return DEFAULT_DENIED.match(address) is None and not any(address in network for network in _HOSTS_OWN)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        # On a network without IPv4, DNS64 answers so for every receiver that has no IPv6.
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_UNICAST and DEFAULT_DENIED.match(address) is None and not _is_isatap(address)


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP
