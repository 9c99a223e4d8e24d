"""Credits: operators' grants, and an organization's balance. Charging is part of settling, in ``leases.py``."""

from fairlane.errors import KeyRefused, NameTaken, ValidationRefused
from fairlane.model.organizations import CreditTotals, Grant
from fairlane.rules.history import month_of
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import CHUNK, Operation, Row, first, rows, rows_if, run
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction

BALANCE_MOST = 10**15
"""Largest total of grants, in either direction. Clients read it as a number of 53 bits."""
MONTHLY_GRANT = "cycle-"
"""The id of a grant of monthly credits is this and the month, such as cycle-2026-11. No other id begins with it."""


class CreditsRow(Row, frozen=True):
    """An organization's credits."""

    credits_on: int
    credits_granted: int
    credits_charged: int
    credits_held: int
    monthly_credits: int | None


class MonthlyRow(Row, frozen=True):
    """The credits that an organization is granted for a month."""

    id: int
    monthly_credits: int


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
            ValidationRefused: the total would be out of range, or the id is one of monthly credits.
        """
        return await self._write(_grant, organization, grant_id, amount, reason, actor)

    async def grants(self, organization: str, *, most: int) -> list[Grant]:
        """Return an organization's grants, newest first. Raises NotFound."""
        return await self._database.snapshot(_find_grants(organization, most))

    async def grant_month(self) -> int:
        """Grant organizations their monthly credits of this month; look at no more than CHUNK, return how many.

        Each has one grant for each month that the database's clock shows while a server runs, also if several servers
        do this at once, one of them dies, or the clock is set. A change of the number counts from the next grant on.
        """
        return await self._write(_grant_month)


def find_credits(organization_id: int) -> Operation[CreditTotals]:
    """Read the credits in one statement."""
    row = yield from first("find_credits", into=CreditsRow, organization_id=organization_id)
    if row is None:
        raise KeyRefused
    return CreditTotals(
        on=bool(row.credits_on),
        granted=row.credits_granted,
        charged=row.credits_charged,
        held=row.credits_held,
        monthly=row.monthly_credits,
    )


def _find_grants(name: str, most: int) -> Operation[list[Grant]]:
    organization_id = yield from find_organization_id(name)
    found = yield from rows("find_grants", into=Grant, organization_id=organization_id, most=most)
    return found


def _grant(
    transaction: Transaction, name: str, grant_id: str, amount: int, reason: str, actor: str
) -> Operation[Grant]:
    if grant_id.startswith(MONTHLY_GRANT):
        raise ValidationRefused.at("id", f"must not begin with {MONTHLY_GRANT}, as grants of monthly credits do")
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


def find_without_month(month: str) -> Operation[list[int]]:
    """Read the ids of organizations whose newest mark is not this month."""
    return (yield from rows("find_without_month", into=int, month=month, most=CHUNK))


def _grant_month(transaction: Transaction) -> Operation[int]:
    month = month_of((yield from transaction.read_clock()))
    found = yield from find_without_month(month)
    locked = yield from transaction.lock_some(found)
    marked = yield from rows_if("mark_month", list(locked), into=MonthlyRow, ids=list(locked), month=month)
    amounts = {row.id: min(row.monthly_credits, BALANCE_MOST - locked[row.id].credits_granted) for row in marked}
    grants = [(organization_id, amount) for organization_id, amount in amounts.items() if amount > 0]
    named = {"id": MONTHLY_GRANT + month, "reason": f"monthly credits of {month}", "actor": "fairlane"}
    # The key of a grant decides, not the mark: another server may have been first, or the clock was set back.
    made = yield from rows_if("insert_grants", grants, into=int, grants=grants, now=transaction.now, **named)
    for organization_id in made:
        locked[organization_id].credits_granted += amounts[organization_id]
    yield from transaction.save()
    return len(marked)
