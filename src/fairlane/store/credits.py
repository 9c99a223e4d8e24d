"""Credits: operators' grants, and an organization's balance. Charging is part of settling, in ``leases.py``."""

from fairlane.errors import KeyRefused, NameTaken, ValidationRefused
from fairlane.model.organizations import CreditTotals, Grant
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import Operation, Row, first, rows, run
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction

BALANCE_MOST = 10**15
"""Largest total of grants, in either direction. Clients read it as a number of 53 bits."""


class CreditsRow(Row, frozen=True):
    """An organization's credits."""

    credits_on: int
    credits_granted: int
    credits_charged: int
    credits_held: int


class CreditStore(Noun):
    """Organizations' credits."""

    async def find(self, organization_id: int) -> CreditTotals:
        """Return an organization's credits, exact. Raises KeyRefused if it does not exist."""
        return await self._database.read(find_credits(organization_id))

    async def grant(self, organization: str, *, grant_id: str, amount: int, reason: str, actor: str) -> Grant:
        """Grant credits, or take some back, once for each id: the same grant again changes nothing.

        Tasks that waited for credits may start from the commit on. A correction ends nothing that runs.

        Raises:
            NotFound: no such organization.
            NameTaken: the id names another grant of this organization.
            ValidationRefused: the total would be out of range.
        """
        return await self._write(_grant, organization, grant_id, amount, reason, actor)

    async def grants(self, organization: str, *, most: int) -> list[Grant]:
        """Return an organization's grants, newest first. Raises NotFound."""
        return await self._database.snapshot(_find_grants(organization, most))


def find_credits(organization_id: int) -> Operation[CreditTotals]:
    """Read the credits in one statement."""
    row = yield from first("find_credits", into=CreditsRow, organization_id=organization_id)
    if row is None:
        raise KeyRefused
    return CreditTotals(
        on=bool(row.credits_on), granted=row.credits_granted, charged=row.credits_charged, held=row.credits_held
    )


def _find_grants(name: str, most: int) -> Operation[list[Grant]]:
    organization_id = yield from find_organization_id(name)
    found = yield from rows("find_grants", into=Grant, organization_id=organization_id, most=most)
    return found


def _grant(
    transaction: Transaction, name: str, grant_id: str, amount: int, reason: str, actor: str
) -> Operation[Grant]:
    organization_id = yield from find_organization_id(name)
    locked = yield from transaction.lock([organization_id])
    one = locked[organization_id]
    before = yield from first("find_grant", into=Grant, organization_id=organization_id, id=grant_id)
    if before is not None:
        if (before.amount, before.reason) != (amount, reason):
            raise NameTaken("grant", grant_id, field="id")
        return before
    if abs(one.credits_granted + amount) > BALANCE_MOST:
        raise ValidationRefused.at("amount", f"would bring the total of all grants beyond {BALANCE_MOST}")
    now = transaction.now
    yield from run(
        "insert_grant", organization_id=organization_id, id=grant_id, amount=amount, reason=reason, actor=actor, now=now
    )
    one.credits_granted += amount
    yield from transaction.save()
    details = {"id": grant_id, "amount": amount, "reason": reason}
    yield from write_trail(transaction, actor, "credits.granted", name, details)
    return Grant(id=grant_id, amount=amount, reason=reason, actor=actor, created_at=now)
