"""Keys of workers and operators, and how long a revoked key of any kind is still taken for good."""

import pytest
from msgspec import structs

from fairlane.errors import NameTaken, NotFound, SessionGone
from fairlane.model.keys import KeyKind
from fairlane.store import Store, keys
from tests.builders import ACTOR, Operations, Worker, a_digest, a_session, an_organization, submitted
from tests.store.databases import Clock, Database


async def a_key(store: Store, kind: KeyKind, value: str = "k" * 20, name: str = "box") -> str:
    """A registered key's id."""
    made = await store.keys.create_for_installation(
        kind, name=name, digest=a_digest(value), last4=value[-4:], actor=ACTOR
    )
    return made.id


async def revoke_elsewhere(store: Store, key_id: str) -> None:
    """As another server on the same database does it: this one's memory is not told."""
    await Operations(store.shared).run(keys.revoke_key, key_id, ACTOR)


@pytest.mark.parametrize("kind", [KeyKind.WORKER, KeyKind.ADMIN])
async def test_a_key_lets_its_holder_in_until_it_is_revoked(database: Database, kind: KeyKind) -> None:
    """At once here; also after a restart."""
    key_id = await a_key(database.store, kind)
    store = await database.reopen()
    holder = await store.keys.holder(a_digest("k" * 20))

    revoked = await store.keys.revoke(key_id, actor=ACTOR)

    assert holder is not None
    assert (holder.key_id, holder.kind, holder.name) == (key_id, kind, "box")
    assert await store.keys.holder(a_digest("k" * 20)) is None
    assert revoked.revoked_at is not None
    assert await store.keys.of_installation(kind) == [revoked]


async def test_a_key_of_one_kind_is_listed_under_it_alone(store: Store) -> None:
    """Without a kind all are listed, oldest first."""
    worker = await a_key(store, KeyKind.WORKER, "w" * 20)
    admin = await a_key(store, KeyKind.ADMIN, "a" * 20)

    assert [key.id for key in await store.keys.of_installation(KeyKind.WORKER)] == [worker]
    assert [key.id for key in await store.keys.of_installation(KeyKind.ADMIN)] == [admin]
    assert [key.id for key in await store.keys.of_installation()] == [worker, admin]


async def test_the_same_key_twice_is_refused(store: Store) -> None:
    """Whatever its kind and name; unknown keys cannot be revoked."""
    await a_key(store, KeyKind.WORKER)

    with pytest.raises(NameTaken):
        await a_key(store, KeyKind.ADMIN, name="other")
    with pytest.raises(NotFound):
        await store.keys.revoke("nobody", actor=ACTOR)


async def test_each_change_of_a_key_is_written_down(store: Store) -> None:
    """Who, what, which; never the key itself or its digest."""
    key_id = await a_key(store, KeyKind.WORKER, "v" * 20)
    await store.keys.revoke(key_id, actor="somebody")

    revoked, created = (await store.trail.page(2))[:2]

    assert (created.actor, created.action, created.subject) == (ACTOR, "worker_key.created", "box")
    assert (revoked.actor, revoked.action, revoked.details) == ("somebody", "worker_key.revoked", {"key": key_id})
    assert a_digest("v" * 20) not in str([created, revoked])


async def test_a_key_revoked_elsewhere_is_refused_within_five_seconds(store: Store, clock: Clock) -> None:
    """Every kind. Just before that it may still be taken for good: that it is remembered at all is the control."""
    organization = await an_organization(store)
    made = await store.keys.create(organization.name, name=None, digest=a_digest("o" * 20), last4="oooo", actor=ACTOR)
    worker = await a_key(store, KeyKind.WORKER, "w" * 20)
    assert await store.keys.caller(a_digest("o" * 20)) is not None
    assert await store.keys.holder(a_digest("w" * 20)) is not None

    await revoke_elsewhere(store, made.id)
    await revoke_elsewhere(store, worker)
    clock.advance(1)
    remembered = await store.keys.caller(a_digest("o" * 20)), await store.keys.holder(a_digest("w" * 20))
    clock.advance(3)

    assert None not in remembered
    assert await store.keys.caller(a_digest("o" * 20)) is None
    assert await store.keys.holder(a_digest("w" * 20)) is None


async def test_a_clock_that_is_set_back_keeps_no_key_alive(store: Store, clock: Clock) -> None:
    """What was remembered in what is now the future is read again."""
    key_id = await a_key(store, KeyKind.ADMIN)
    assert await store.keys.holder(a_digest("k" * 20)) is not None

    await revoke_elsewhere(store, key_id)
    clock.advance(-3600)

    assert await store.keys.holder(a_digest("k" * 20)) is None


async def test_the_sessions_of_a_revoked_worker_key_end(store: Store) -> None:
    """They may neither renew nor exchange; what they ran goes back with the next sweep. Others go on."""
    organization = await an_organization(store, slots=5)
    [task_id] = await submitted(store, organization)
    key_id = await a_key(store, KeyKind.WORKER)
    plain, keyed = a_session(), structs.replace(a_session(), key_id=key_id)
    await store.sessions.open(plain)
    await store.sessions.open(keyed)

    [lease] = await Worker(store, keyed).take(1)
    assert lease.task_id == task_id

    await store.keys.revoke(key_id, actor=ACTOR)

    with pytest.raises(SessionGone):
        await Worker(store, keyed).exchange(places=1)
    with pytest.raises(SessionGone):
        await Worker(store, keyed).renew(leases=[lease.id])
    assert await store.sessions.return_orphans() == 1
    [again] = await Worker(store, plain).take(1)
    assert again.task_id == task_id
