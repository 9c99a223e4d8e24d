"""``/admin/v1/organizations/{}/credits``: an organization's credits and its grants."""

from typing import ClassVar

from msgspec import Struct
from msgspec.json import Decoder

from fairlane.api.admin.shapes import BODY_BYTES_MOST, answer
from fairlane.api.http import Answer, Request
from fairlane.api.messages import check_between, read_message
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.errors import ValidationRefused
from fairlane.model.organizations import CreditTotals
from fairlane.store import Store, new_id

AMOUNT_MOST = 10**12
ID_LENGTH_MOST = 64
REASON_LENGTH_MOST = 500
GRANTS_MOST = 10_000


class NewGrant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credits to grant; a negative amount takes credits back. Without ``id`` one is made, and a repeat counts again."""

    amount: int
    reason: str
    id: str | None = None


class Held(Struct, frozen=True, kw_only=True):
    """An organization's credits, and the balance computed from them."""

    organization: str
    credits: CreditTotals
    balance: int
    """What is left; below 0 only after a correction."""


_new_grant = Decoder(NewGrant)


class GrantEndpoints:
    """The operator's endpoints. ``actor`` is written to the audit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, actor: str) -> Answer:
        """Return the totals."""
        found = await self._store.organizations.find(*request.parameters)
        return answer(Held(organization=found.name, credits=found.credits, balance=found.credits.balance()))

    async def list(self, request: Request, actor: str) -> Answer:
        """Return the grants, newest first."""
        most = read_number("limit", request.query("limit").get("limit"), usual=100, most=GRANTS_MOST)
        return answer({"grants": await self._store.credits.grants(*request.parameters, most=most)})

    async def grant(self, request: Request, actor: str) -> Answer:
        """Grant credits, or take some back."""
        new = read_message(_new_grant, await request.body(BODY_BYTES_MOST))
        if new.amount == 0:
            raise ValidationRefused.at("amount", "must not be 0")
        check_between("amount", new.amount, -AMOUNT_MOST, AMOUNT_MOST)
        _check_length("reason", new.reason, REASON_LENGTH_MOST)
        if new.id is not None:
            _check_length("id", new.id, ID_LENGTH_MOST)
        granted = await self._store.credits.grant(
            *request.parameters, grant_id=new.id or new_id(), amount=new.amount, reason=new.reason, actor=actor
        )
        return answer(granted)

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/organizations/{organization}/credits", read),
        Route("GET", "/admin/v1/organizations/{organization}/credits/grants", list),
        Route("POST", "/admin/v1/organizations/{organization}/credits/grants", grant),
    )


def _check_length(field: str, text: str, most: int) -> None:
    if not (1 <= len(text) <= most and text.isprintable()):
        raise ValidationRefused.at(field, f"must be 1 to {most} printable characters")
