"""``/admin/v1/deliveries/hosts``: the hosts of webhooks, with what holds their messages."""

from collections.abc import Callable
from typing import ClassVar

from fairlane.api.admin.shapes import answer
from fairlane.api.http import Answer, Request
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.rules.deliveries import SenderState
from fairlane.store import Store

HOSTS_MOST = 20
"""Most hosts of one answer: what is owed to each is counted."""


class HostEndpoints:
    """The operator's endpoint. ``sending`` returns the state of this server's sender, or None if it has none."""

    def __init__(self, store: Store, sending: Callable[[], SenderState | None]) -> None:
        self._store = store
        self._sending = sending

    async def list(self, request: Request, actor: str) -> Answer:
        """Return the hosts with trouble, or with ``search`` one page of those whose names begin with it."""
        asked = request.query("search", "cursor", "limit")
        most = read_number("limit", asked.get("limit"), usual=HOSTS_MOST, most=HOSTS_MOST)
        text, state = asked.get("search"), self._sending()
        if text is None:
            page = await self._store.webhook_hosts.troubled(state, most=most)
        else:
            page = await self._store.webhook_hosts.named(text, state, after=asked.get("cursor", ""), most=most)
        shown: dict[str, object] = {"hosts": page.hosts, "more": page.more}
        if page.after is not None:
            shown["cursor"] = page.after
        return answer(shown)

    routes: ClassVar[Routes] = (Route("GET", "/admin/v1/deliveries/hosts", list),)
