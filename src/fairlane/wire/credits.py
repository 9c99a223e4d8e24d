"""Credits as an organization sees them, and the lists of countries and states that clients also request.

Called by the API's endpoints. A debt reads as 0; if credits are switched off, a large number is returned.
"""

from collections.abc import Sequence

from msgspec import Struct

from fairlane.model.organizations import CreditTotals
from fairlane.wire.values import encode, timestamp

CREDITS_UNCOUNTED = 1_000_000_000
"""The number of remaining credits if credits are switched off: a number, because clients need one."""


class CreditsBody(Struct, rename="camel"):
    remaining: int
    per_cycle: int | None
    cycle_resets_at: str | None


class _StateFields(Struct):
    code: str
    name: str


CountriesBody = list[str]
StatesBody = list[_StateFields]


def credits_body(credits: CreditTotals, *, resets_at: int) -> bytes:
    """Return the answer of ``GET /v1/credits``; monthly credits come at ``resets_at``. A debt reads as 0."""
    if not credits.on or not credits.monthly:
        return encode(CreditsBody(credits_remaining(credits), None, None))
    return encode(CreditsBody(credits_remaining(credits), credits.monthly, timestamp(resets_at)))


def credits_remaining(credits: CreditTotals) -> int:
    """Return what an organization may still spend, as it is told: never below 0."""
    return max(0, credits.balance()) if credits.on else CREDITS_UNCOUNTED


def countries_body(countries: Sequence[str]) -> bytes:
    """Return the answer of ``GET /v1/countries``: a bare array."""
    return encode(list(countries))


def states_body(states: Sequence[tuple[str, str]]) -> bytes:
    """Return the answer of ``GET /v1/states``, from codes and names."""
    return encode([_StateFields(code, name) for code, name in states])
