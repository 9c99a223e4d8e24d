"""Where exchanges wait that have no answer yet: the long poll of workers with free places.

At most one exchange of a session is parked; free places of the session's other exchanges join it. A parked exchange is
tried again when the store hints that work of its types can start, the longest parked first, and once a second because
hints can be lost. The store, not this module, decides which worker gets which work.

Workers are also told here which attempts must end: at once, and then once a second as long as they run.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable

from msgspec import Struct
from msgspec.structs import replace

from fairlane.errors import SessionGone, StoreUnreachable
from fairlane.model.leases import Exchange, ExchangeReply
from fairlane.outages import Outage
from fairlane.store import Effects, Store

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
TELL_AGAIN_SECONDS = 1.0
"""Interval at which cancel requests are repeated, in seconds: an answer may be lost, or arrive before the one with the
lease."""
WAIT_SECONDS_MOST = 60.0

Types = frozenset[str]
NONE: Types = frozenset()
NOTHING = ExchangeReply(verdicts=(), leases=())


class Settled(Struct, frozen=True, kw_only=True):
    """The answer to one exchange."""

    reply: ExchangeReply = NOTHING
    kept: int = 0
    """Free places of it that now wait in the session's parked exchange."""
    kept_by: str = ""
    """The id of that exchange."""
    draining: bool = False
    cancel: tuple[str, ...] = ()
    """Leases that must end."""


SettledFuture = asyncio.Future[Settled]


class _Parked:
    """One waiting exchange. ``types`` is None for a session of another server, which may serve any type."""

    def __init__(self, exchange: Exchange, types: Types | None, answer: SettledFuture) -> None:
        self.session_id = exchange.session_id
        self.key_id = exchange.key_id
        self.id = exchange.id
        self.places = exchange.places
        self.types = types
        self.answer = answer
        self.trying = False
        self.hinted = NONE
        """Types to look for; more may come while it is being tried."""
        self.leaving = False
        """Whether to answer it as soon as it is not being tried: a try may bring leases, which must not be lost."""

    def serves(self, types: Types) -> bool:
        """Return whether it could start work of one of these types."""
        return self.places > 0 and (self.types is None or not self.types.isdisjoint(types))


class Parking:
    """All parked exchanges of one server, in the order in which they were parked."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._types: dict[str, Types] = {}
        self._keys: dict[str, str | None] = {}
        """For each session that this server opened, the worker key that opened it, or None for the server's own
        socket."""
        self._parked: dict[str, _Parked] = {}
        self._tries: set[asyncio.Task[None]] = set()
        self._hints = 0
        self._hinted_at: dict[str, int] = {}
        self._draining = False
        self._wishes: dict[str, dict[str, float]] = {}
        """For each session, the leases that must end, with the moment at which its worker was last told."""
        self._seen: set[str] = set()
        """Sessions that sent a request since the last check for cancel requests."""
        self._unreadable = Outage(logger, "cancels.unreadable", "cancels.resumed", traced=True)
        store.hints.subscribe(self._hear)

    def parked(self) -> dict[str, int]:
        """Return the places that each session with a waiting exchange has free."""
        return {session_id: parked.places for session_id, parked in self._parked.items()}

    def know(self, session_id: str, types: Iterable[str], key_id: str | None) -> None:
        """Remember what a new session serves, and which key opened it."""
        self._types[session_id] = frozenset(types)
        self._keys[session_id] = key_id

    def forget(self, session_id: str, key_id: str | None) -> None:
        """Forget a session that has ended according to a request with this key.

        If an exchange of it is parked, the next try tells its worker. A session that another key opened continues.
        """
        if self._keys.get(session_id, key_id) != key_id:
            return
        self._types.pop(session_id, None)
        self._keys.pop(session_id, None)
        self._wishes.pop(session_id, None)

    def withdraw(self, session_id: str, exchanges: Collection[str], key_id: str | None) -> None:
        """Give no more leases to these exchanges: their worker is stalled."""
        parked = self._parked.get(session_id)
        if parked is not None and parked.key_id == key_id and parked.id in exchanges:
            self._dismiss(parked)

    async def exchange(
        self, exchange: Exchange, *, wait_seconds: float, gone: Callable[[], Awaitable[None]]
    ) -> Settled:
        """Settle and claim; if there is nothing to answer, wait up to ``wait_seconds`` or until ``gone`` returns.

        Raises:
            SessionGone: the session is dead or unknown.
        """
        settled = await self._exchange(exchange, wait_seconds, gone)
        self._seen.add(exchange.session_id)
        wishes = self._due_wishes(exchange.session_id)
        if not wishes:
            return settled
        self._wishes[exchange.session_id].update(dict.fromkeys(wishes, asyncio.get_running_loop().time()))
        return replace(settled, cancel=tuple(wishes))

    async def _exchange(self, exchange: Exchange, wait_seconds: float, gone: Callable[[], Awaitable[None]]) -> Settled:
        if self._draining:
            return Settled(reply=await self._claim(exchange, places=0), draining=True)
        hints = self._hints
        try:
            reply = await self._store.leases.exchange(exchange)
        except SessionGone:
            self.forget(exchange.session_id, exchange.key_id)
            raise
        parked = self._parked.get(exchange.session_id)
        if parked is not None and parked.id != exchange.id:
            # A repeated exchange may have more leases than places, because places of other exchanges had joined it.
            left = max(0, exchange.places - len(reply.leases))
            parked.places += left
            self._try_if_late(parked, hints)
            return Settled(reply=reply, kept=left, kept_by=parked.id)
        something = reply.verdicts or reply.leases or self._due_wishes(exchange.session_id)
        if something or wait_seconds <= 0 or self._draining:
            if parked is not None:
                self._dismiss(parked)
            return Settled(reply=reply, draining=self._draining)
        return await self._park(exchange, hints, min(wait_seconds, WAIT_SECONDS_MOST), gone)

    def _hear(self, effects: Effects) -> None:
        if effects.startable:
            self.hint(frozenset(effects.startable))
        if effects.canceled:
            self.hint_cancels(effects.canceled)

    def hint(self, types: Types) -> None:
        """Try the longest-waiting exchange that serves these types, because their work can start."""
        self._hints += 1
        self._hinted_at.update(dict.fromkeys(types, self._hints))
        open_types = types
        for parked in self._parked.values():
            if not open_types:
                return
            if parked.serves(open_types):
                self._try(parked, open_types)
                open_types = NONE if parked.types is None else open_types - parked.types

    def hint_cancels(self, sessions: Collection[str]) -> None:
        """Tell the workers of these sessions which of their leases must end."""
        task = asyncio.ensure_future(self._look_for_wishes(sessions))
        self._tries.add(task)
        task.add_done_callback(self._tries.discard)

    def drain(self) -> None:
        """Answer every waiting exchange, and park no more."""
        self._draining = True
        for parked in list(self._parked.values()):
            self._dismiss(parked)

    async def poll(self) -> None:
        """Try all parked exchanges once a second, until the server stops, because hints can be lost."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            # Another server may have received a cancel request for a session that is here.
            seen, self._seen = self._seen | self._parked.keys(), set()
            if seen:
                await self._look_for_wishes(seen)
            for parked in list(self._parked.values()):
                if parked.places > 0 and not parked.trying:
                    self._try(parked, parked.types or NONE)

    # Cancel requests -------------------------------------------------------------------------------------------------

    async def _look_for_wishes(self, sessions: Collection[str]) -> None:
        """Read which leases of these sessions must end, and answer waiting exchanges that were not told recently."""
        try:
            found = await self._store.leases.canceled(list(sessions))
        except StoreUnreachable:  # The store has already logged it once.
            return
        except Exception as error:  # noqa: BLE001 - the next check sees it again; a waiting worker goes on
            self._unreadable.fail(error)
            return
        self._unreadable.succeed()
        for session_id in sessions:
            told = self._wishes.pop(session_id, {})
            if session_id in found:
                self._wishes[session_id] = {lease: told.get(lease, float("-inf")) for lease in found[session_id]}
                parked = self._parked.get(session_id)
                if parked is not None and self._due_wishes(session_id):
                    self._dismiss(parked)

    def _due_wishes(self, session_id: str) -> list[str]:
        """Return the leases that the worker should now be told to end."""
        wishes = self._wishes.get(session_id)
        if not wishes:
            return []
        late = asyncio.get_running_loop().time() - TELL_AGAIN_SECONDS
        return [lease for lease, told_at in wishes.items() if told_at <= late]

    # Waiting ---------------------------------------------------------------------------------------------------------

    async def _park(
        self, exchange: Exchange, hints: int, wait_seconds: float, gone: Callable[[], Awaitable[None]]
    ) -> Settled:
        loop = asyncio.get_running_loop()
        answer: SettledFuture = loop.create_future()
        parked = self._parked.get(exchange.session_id)
        if parked is None:
            parked = _Parked(exchange, self._types.get(exchange.session_id), answer)
            self._parked[parked.session_id] = parked
        else:
            # The same exchange, sent again: it replaces the earlier request, which no longer waits for an answer, and
            # keeps the places that joined it.
            before, parked.answer, parked.leaving = parked.answer, answer, False
            _resolve(before, Settled())
        self._try_if_late(parked, hints)
        timer = loop.call_later(wait_seconds, self._expire, parked, answer)
        departure = asyncio.ensure_future(gone())
        departure.add_done_callback(lambda _: self._expire(parked, answer))
        try:
            return await answer
        finally:
            timer.cancel()
            departure.cancel()
            self._expire(parked, answer)

    def _try_if_late(self, parked: _Parked, hints: int) -> None:
        """Try if work became startable since ``hints`` was read: the claim before parking may have been too early."""
        if self._hints == hints or parked.places == 0:
            return
        types = self._hinted_at.keys() if parked.types is None else parked.types
        late = frozenset(name for name in types if self._hinted_at.get(name, 0) > hints)
        if late:
            self._try(parked, late)

    def _expire(self, parked: _Parked, answer: SettledFuture) -> None:
        """End the wait because its time is over or its caller is gone, unless another request has replaced it."""
        if parked.answer is answer:
            self._dismiss(parked)

    def _dismiss(self, parked: _Parked) -> None:
        if parked.trying:
            parked.leaving = True
        else:
            self._leave(parked, Settled(draining=self._draining))

    def _leave(self, parked: _Parked, answer: Settled | Exception) -> None:
        if self._parked.get(parked.session_id) is parked:
            del self._parked[parked.session_id]
        _resolve(parked.answer, answer)

    # Trying ----------------------------------------------------------------------------------------------------------

    def _try(self, parked: _Parked, types: Types) -> None:
        parked.hinted |= types
        if not parked.trying:
            parked.trying = True
            task = asyncio.ensure_future(self._tries_of(parked))
            self._tries.add(task)
            task.add_done_callback(self._tries.discard)

    async def _tries_of(self, parked: _Parked) -> None:
        """Claim for a parked exchange until it has leases or there are no more hints; one claim at a time."""
        while True:
            looked_for, parked.hinted = parked.hinted, NONE
            places = 0 if self._draining else parked.places
            try:
                reply = await self._claim_for(parked, places)
            except Exception as error:  # noqa: BLE001 - every error goes to the request that waits
                parked.trying = False
                self._leave(parked, error)
                self._pass_on(looked_for | parked.hinted)
                return
            if reply.leases or parked.leaving:
                break
            if not parked.hinted:
                parked.trying = False
                return
        parked.trying = False
        self._leave(parked, Settled(reply=reply, draining=self._draining))
        # If every place was filled, there may be more work; if a place is left, there is none.
        filled = len(reply.leases) >= places
        self._pass_on(looked_for | parked.hinted if filled else parked.hinted)

    def _pass_on(self, types: Types) -> None:
        if types and not self._draining:
            self.hint(types)

    async def _claim(self, exchange: Exchange, *, places: int) -> ExchangeReply:
        return await self._store.leases.exchange(
            Exchange(
                session_id=exchange.session_id,
                id=exchange.id,
                places=places,
                reports=exchange.reports,
                key_id=exchange.key_id,
            )
        )

    async def _claim_for(self, parked: _Parked, places: int) -> ExchangeReply:
        return await self._store.leases.exchange(
            Exchange(session_id=parked.session_id, id=parked.id, places=places, key_id=parked.key_id)
        )


def _resolve(answer: SettledFuture, outcome: Settled | Exception) -> None:
    if answer.done():
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
