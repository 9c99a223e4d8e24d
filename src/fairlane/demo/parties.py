"""The two organizations of the demonstration."""

from msgspec import Struct

SEED_KEY = "sk_live_1234567890abcdef1234567890abcdef"
"""The key of the curl line in the API's documentation, imported so that the line works as it is."""


class Party(Struct, frozen=True, kw_only=True):
    """One organization of the demonstration."""

    name: str
    slots: int
    weight: int
    key: str | None
    """A key to import, or None to create one."""


ACME = Party(name="acme", slots=4, weight=1, key=SEED_KEY)
GLOBEX = Party(name="globex", slots=8, weight=3, key=None)
PARTIES = (ACME, GLOBEX)


def curl_line(address: str) -> str:
    """Return the documentation's request, as it works against this server."""
    return f'curl -H "Authorization: Bearer {SEED_KEY}" {address}/v1/async/status'
