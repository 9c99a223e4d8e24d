"""Webhooks: which deliveries are tried next, and how long to wait after a try that failed."""

import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

from msgspec import Struct

from fairlane.model.webhooks import HostHold
from fairlane.rules.fairness import FIRST_ESTIMATE_MS, service

DELIVERY_JITTER = 0.1
"""The share of a pause by which chance may shorten it. Pauses are never lengthened: a try begins after it is due."""
ASKED_WAIT_MS_MAX = 86_400_000
"""Longest wait that a receiver may ask for; after a day it is tried again."""


def delivery_pause_ms(number: int, pauses_ms: Sequence[int], chance: float) -> int | None:
    """Return how long to wait after failed try ``number``, up to a tenth less, or None if that was the last one."""
    if number > len(pauses_ms):
        return None
    return int(pauses_ms[number - 1] * (1 - DELIVERY_JITTER + DELIVERY_JITTER * chance))


def asked_wait_ms(retry_after: str | None, now: int) -> int:
    """Return how long a ``Retry-After`` asks to wait, at most a day; 0 if it is missing or cannot be read.

    It is a number of seconds or a moment in one of HTTP's formats.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text) * 1_000, ASKED_WAIT_MS_MAX)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0, round(zoned.timestamp() * 1_000) - now), ASKED_WAIT_MS_MAX)


class DeliveryLimits(Struct, frozen=True, kw_only=True):
    """How many tries one server may run at once."""

    total: int = 256
    reserve: int = 256
    """Places beyond ``total``. An organization holds at most one of them, and none for a hanging host."""
    organization: int = 10
    host: int = 4
    """For one host and port, over all organizations. An organization without a try there gets one more."""
    bytes_free: int = 64 * 1024
    """A message of at most this size needs no room in memory: the places bound their sum."""
    bytes_organization: int = 32 * 1024 * 1024
    """What the larger messages of one organization may have in memory at once. One that is larger counts as this."""
    bytes_total: int = 128 * 1024 * 1024
    """What those of all organizations may have at once."""
    bytes_reserve: int = 64 * 1024 * 1024
    """Room beyond ``bytes_total``, for organizations that have no larger message in memory."""


HANGING_MS = 1_000
"""A try that takes this long hangs. Its host and port get no place of the reserve until a faster try."""

Addressed = tuple[int, str]
"""(organization id, host and port) of a delivery."""
SizedDelivery = tuple[int, str, int]
"""(organization id, host and port, bytes of the body) of a delivery."""


class SenderState(Struct, frozen=True, kw_only=True):
    """What the sender of one server knows when it claims. Each server keeps its own virtual time."""

    limits: DeliveryLimits = DeliveryLimits()
    under_way: Sequence[tuple[int, str, bool, int]] = ()
    """Of each try the organization id, the host and port, whether it holds a place of the reserve, and how many bytes
    of its body are in memory."""
    virtual_time: int = 0
    """The tag of the last pick."""
    tags: Mapping[int, int] = {}
    """Virtual times of organizations; one that is missing has that of the last pick."""
    estimates_ms: Mapping[int, float] = {}
    """Expected duration of a try of each organization."""
    hanging: Collection[Addressed] = ()
    organizations_after: int = 0
    """The id after which the next scan of the organizations begins."""
    hosts_after: Mapping[int, str] = {}
    """The host after which the next scan of an organization's hosts begins; if missing, at the first."""


STUCK_MS = 60_000
"""A message that has been due for this long, with nothing to hold it, is stuck."""
SOON_MS = 3_000
"""A message that has been due for less is about to be tried."""


class OpenMessages(Struct, frozen=True, kw_only=True):
    """The first open message to a host, and the organizations that have one."""

    host: str
    organizations: Sequence[int]
    overdue_ms: int
    """How long it has been due; negative: it is due later."""


def hold(messages: OpenMessages, state: SenderState | None) -> HostHold | None:
    """Return the reason why the first message to a host waits at the server of this state, or None if there is none.

    With several servers, another one may have places. Without a state only the time is known.
    """
    if messages.overdue_ms < 0:
        return HostHold.PAUSE
    if messages.overdue_ms < SOON_MS:
        return None
    if state is not None:
        limits, running = state.limits, Counter(organization_id for organization_id, *_ in state.under_way)
        at_host = {one[0] for one in state.under_way if one[1] == messages.host}
        unreserved = sum(not reserved for *_, reserved, _ in state.under_way)
        if len(state.under_way) >= limits.total + limits.reserve:
            return HostHold.SERVER_BUSY
        if unreserved >= limits.total and any((one, messages.host) in state.hanging for one in messages.organizations):
            return HostHold.SLOW
        if all(running[one] >= limits.organization for one in messages.organizations):
            return HostHold.ORGANIZATION_BUSY
        tries = sum(one[1] == messages.host for one in state.under_way)
        if tries >= limits.host and at_host.issuperset(messages.organizations):
            return HostHold.HOST_BUSY
    return HostHold.STUCK if messages.overdue_ms >= STUCK_MS else None


def delivery_hold(messages: OpenMessages, state: SenderState | None, *, asked: bool) -> HostHold | None:
    """Return the reason why one delivery waits. ``asked``: its receiver asked for the pause before the next try."""
    found = hold(messages, state)
    return HostHold.RECEIVER if found is HostHold.PAUSE and asked else found


class DeliveryChoice:
    """The picks of one claim: start-time fair queueing over organizations, within the limits of the server.

    While there are places in the reserve, no organization waits for the tries of another. An organization without tries
    gains no credit: its tag is at least that of the last pick. If a large message finds no
    room in memory, no large message of another organization begins before it, so that the room becomes free.
    """

    def __init__(self, state: SenderState) -> None:
        self._state = state
        self._bytes: Counter[int] = Counter()
        self._room_due = False
        """A message waits for room that others have."""
        self._organizations: Counter[int] = Counter()
        self._hosts: Counter[str] = Counter()
        self._pairs: Counter[Addressed] = Counter()
        self._in_reserve: set[int] = set()
        self._unreserved = 0
        for organization_id, host, reserved, size in state.under_way:
            self._count(organization_id, host, reserved, size)

    @property
    def full(self) -> bool:
        """Return whether no place is left for any organization."""
        limits = self._state.limits
        return self._unreserved >= limits.total and len(self._in_reserve) >= limits.reserve

    def in_turn(self, organizations: Iterable[int]) -> list[int]:
        """Return the organizations that may begin a try, the one with the smallest virtual time first."""
        may_begin = (one for one in organizations if self._organizations[one] < self._state.limits.organization)
        return sorted(may_begin, key=lambda one: (self._tag(one), one))

    def choose(self, due: Sequence[SizedDelivery]) -> list[int]:
        """Return the positions in ``due`` of the tries that begin now, in the order in which they begin.

        ``due`` is in the order of each organization. A try that cannot begin does not block the ones behind it.
        """
        waiting: dict[int, deque[int]] = {}
        for position, (organization_id, *_) in enumerate(due):
            waiting.setdefault(organization_id, deque()).append(position)
        heap = [(self._tag(organization_id), organization_id) for organization_id in waiting]
        heapq.heapify(heap)
        chosen: list[int] = []
        while heap:
            tag, organization_id = heap[0]
            queue = waiting[organization_id]
            while queue and not self._take(*due[queue[0]]):
                queue.popleft()
            if queue:
                chosen.append(queue.popleft())
                estimate_ms = round(self._state.estimates_ms.get(organization_id, FIRST_ESTIMATE_MS))
                heapq.heapreplace(heap, (tag + service(estimate_ms, 1), organization_id))
            else:
                heapq.heappop(heap)
        return chosen

    def _tag(self, organization_id: int) -> int:
        return max(self._state.virtual_time, self._state.tags.get(organization_id, 0))

    def _take(self, organization_id: int, host: str, size: int) -> bool:
        """Take a place if there is one. A try that finds none now finds none later in this claim."""
        limits = self._state.limits
        if self._organizations[organization_id] >= limits.organization:
            return False
        if self._hosts[host] >= limits.host and self._pairs[organization_id, host]:
            return False
        reserved = self._unreserved >= limits.total
        if reserved and not self._may_reserve(organization_id, host):
            return False
        if not self._has_room(organization_id, self._weight(size)):
            return False
        self._count(organization_id, host, reserved, size)
        return True

    def _weight(self, size: int) -> int:
        """Return the bytes that a message counts as."""
        return 0 if size <= self._state.limits.bytes_free else min(size, self._state.limits.bytes_organization)

    def _has_room(self, organization_id: int, weight: int) -> bool:
        limits, held = self._state.limits, self._bytes[organization_id]
        if not weight:
            return True
        if self._room_due or held + weight > limits.bytes_organization:
            return False
        total = limits.bytes_total if held else limits.bytes_total + limits.bytes_reserve
        self._room_due = self._bytes.total() + weight > total
        return not self._room_due

    def _may_reserve(self, organization_id: int, host: str) -> bool:
        return (
            len(self._in_reserve) < self._state.limits.reserve
            and organization_id not in self._in_reserve
            and (organization_id, host) not in self._state.hanging
        )

    def _count(self, organization_id: int, host: str, reserved: bool, size: int) -> None:
        if weight := self._weight(size):
            self._bytes[organization_id] += weight
        self._organizations[organization_id] += 1
        self._hosts[host] += 1
        self._pairs[organization_id, host] += 1
        if reserved:
            self._in_reserve.add(organization_id)
        else:
            self._unreserved += 1
