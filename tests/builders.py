"""Builders with safe defaults: each test states only what it is about."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec.structs import asdict, replace

from fairlane.model.calls import NewCall
from fairlane.model.leases import (
    Completed,
    Ending,
    Exchange,
    ExchangeReply,
    Failed,
    Lease,
    NewSession,
    Released,
    Renewal,
    Report,
    ReportVerdict,
)
from fairlane.model.organizations import DEFAULT_PLAN, Organization, Overrides
from fairlane.model.tasks import Accepted, NewTask, TaskRule, TaskStatus
from fairlane.model.webhooks import DueDelivery, Webhook
from fairlane.rules.deliveries import SenderState
from fairlane.store import Effects, Store, new_id
from fairlane.store.noun import Noun
from fairlane.store.statements import Operation, Result

PAGE = "PAGE"
IMAGE = "IMAGE"
LIMITED = "LIMITED"
"""At most two at once across all organizations."""
FRAGILE = "FRAGILE"
"""One attempt only."""

ACTOR = "a test"

_numbers = itertools.count(1)


def a_catalogue() -> dict[str, TaskRule]:
    """Two plain types with three attempts, one with a limit of its own, one that is never tried again."""
    return {
        PAGE: TaskRule(name=PAGE, timeout_ms=60_000, attempts=3),
        IMAGE: TaskRule(name=IMAGE, timeout_ms=60_000, attempts=3),
        LIMITED: TaskRule(name=LIMITED, timeout_ms=60_000, attempts=3, limit=2),
        FRAGILE: TaskRule(name=FRAGILE, timeout_ms=60_000, attempts=1),
    }


async def an_organization(
    store: Store,
    name: str | None = None,
    *,
    slots: int | None = 2,
    weight: int | None = None,
    queue_limit: int | None = None,
    plan: str = DEFAULT_PLAN,
) -> Organization:
    """An organization with two slots."""
    return await store.organizations.create(
        name or f"organization-{next(_numbers)}",
        plan=plan,
        overrides=Overrides(slots=slots, weight=weight, queue_limit=queue_limit),
        actor=ACTOR,
    )


def a_task(
    task_type: str = PAGE,
    *,
    priority: int = 5,
    key: str | None = None,
    payload: str = "{}",
    cost: int = 1,
    webhook: str | None = None,
    delay_seconds: float = 0,
    run_at: int | None = None,
    retry_of: str | None = None,
) -> NewTask:
    """A request for a plain task; ``webhook`` is the host that its outcome is to be told to."""
    return NewTask(
        id=new_id(),
        task_type=task_type,
        payload=payload,
        priority=priority,
        idempotency_key=key,
        cost=cost,
        webhook=None if webhook is None else a_webhook(webhook),
        delay_ms=round(delay_seconds * 1_000),
        run_at=run_at,
        retry_of=retry_of,
    )


def a_webhook(host: str = "hooks.example") -> Webhook:
    """An address at this host."""
    return Webhook(f"https://{host}/hook?token=1", host)


class Operations(Noun):
    """Runs operations that have no method of their own, or parts of one."""

    async def run(self, operation: Callable[..., Operation[Result]], *arguments: Any, **named: Any) -> Result:
        """Run it in a transaction; raise its refusal."""
        return await self._write(operation, *arguments, **named)


async def submitted(store: Store, organization: Organization, *tasks: NewTask) -> list[str]:
    """The ids of these tasks (one plain task if none is given), all of them accepted."""
    wanted = tasks or (a_task(),)
    answers = await store.tasks.submit(organization.id, wanted)
    assert all(isinstance(answer, Accepted) for answer in answers), answers
    return [task.id for task in wanted]


def a_digest(key: str) -> str:
    """What the store keeps of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def a_session(
    types: Sequence[str] | None = None, *, places: int = 10, local: bool = False, lease_seconds: float = 30
) -> NewSession:
    """A remote worker process that serves every type, with a lease of 30 s."""
    return NewSession(
        id=new_id(),
        name=f"host/{next(_numbers)}",
        types=tuple(a_catalogue() if types is None else types),
        places=places,
        local=local,
        lease_ms=int(lease_seconds * 1_000),
    )


DONE = Completed('{"done":true}')
AGAIN = Failed(cause="it broke", pause_ms=0)
"""A failure whose next attempt may start at once."""
RETURNED = Released()


class Worker:
    """A worker process as the store sees it: a session and its exchanges."""

    def __init__(self, store: Store, session: NewSession) -> None:
        self.store = store
        self.session = session

    @property
    def id(self) -> str:
        """The session's id."""
        return self.session.id

    def asks(self, *reports: Report, places: int = 0, exchange: str | None = None) -> Exchange:
        """An exchange of this session, not sent yet."""
        return Exchange(
            session_id=self.id,
            id=exchange or new_id(),
            places=places,
            reports=reports,
            key_id=self.session.key_id,
        )

    async def exchange(self, *reports: Report, places: int = 0, exchange: str | None = None) -> ExchangeReply:
        """Send one exchange."""
        return await self.store.leases.exchange(self.asks(*reports, places=places, exchange=exchange))

    async def take(self, places: int = 1) -> list[Lease]:
        """The leases that so many free places get. One claim fills only some of very many, so it asks again."""
        leases: list[Lease] = []
        while len(leases) < places and (more := (await self.exchange(places=places - len(leases))).leases):
            leases += more
        return leases

    async def take_one(self) -> Lease:
        """The one lease that one free place gets."""
        (lease,) = await self.take(1)
        return lease

    async def settle(self, lease: Lease, ending: Ending = DONE) -> ReportVerdict:
        """Report one lease; the verdict."""
        (verdict,) = (await self.exchange(Report(lease.id, ending))).verdicts
        return verdict

    async def renew(self, *, leases: Sequence[str] = (), exchanges: Sequence[str] = ()) -> Renewal:
        """Renew the session."""
        return await self.store.sessions.renew(self.id, leases=leases, exchanges=exchanges, key_id=self.session.key_id)


async def a_worker(
    store: Store, types: Sequence[str] | None = None, *, local: bool = False, lease_seconds: float = 30
) -> Worker:
    """A registered worker that serves every type."""
    session = a_session(types, local=local, lease_seconds=lease_seconds)
    await store.sessions.open(session)
    return Worker(store, session)


async def a_server(store: Store, *, local: bool = True, lease_seconds: float = 30) -> str:
    """The session of a server whose callers wait."""
    session = a_session((), places=0, local=local, lease_seconds=lease_seconds)
    await store.sessions.open(session)
    return session.id


class Identified(Protocol):
    """Whatever stands for an organization."""

    @property
    def id(self) -> int:
        """Its id."""


def a_call(
    organization: Identified, server: str, task_type: str = PAGE, *, payload: str = "{}", cost: int = 1
) -> NewCall:
    """A request to run a plain type now."""
    return NewCall(
        id=new_id(), organization_id=organization.id, task_type=task_type, payload=payload, server_id=server, cost=cost
    )


async def state(store: Store, organization: Organization, task_id: str) -> TaskStatus:
    """Where this task is."""
    view = await store.tasks.find(organization.id, task_id)
    assert view is not None, f"task {task_id} is not there"
    return view.status


def ids(leases: Sequence[Lease]) -> list[str]:
    """The tasks of these leases, in their order."""
    return [lease.task_id for lease in leases]


async def claimed_deliveries(
    store: Store, state: SenderState | None = None, *, claim_ms: int = 30_000
) -> list[DueDelivery]:
    """What a sender that has nothing under way, or this ``state``, may try now."""
    return (await store.deliveries.claim(state or SenderState(), claim_ms=claim_ms)).deliveries


def hears(store: Store, name: str) -> list[Any]:
    """What listeners of the store are told of this effect from now on."""
    heard: list[Any] = []

    def hear(effects: Effects) -> None:
        value = getattr(effects, name)
        if value:
            heard.append(value)

    store.hints.subscribe(hear)
    return heard


def lose_hints(store: Store, *names: str) -> None:
    """No listener of the store is told of these effects any more, as if the hints were lost on their way."""
    tell, nothing = store.hints.tell, asdict(Effects())

    def told(effects: Effects) -> None:
        tell(replace(effects, **{name: nothing[name] for name in names}))

    store.hints.tell = told  # type: ignore[method-assign]
