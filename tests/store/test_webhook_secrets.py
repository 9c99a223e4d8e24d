"""Webhook secrets: rotated with an overlap, revoked at once, sealed where the operator set a key."""

import sys

import pytest

from fairlane.errors import NotFound, SetupError
from fairlane.store import Store
from tests.builders import ACTOR, an_organization
from tests.store.databases import Clock, Database

KEY, OTHER_KEY = "k" * 32, "o" * 32


async def create(store: Store, organization: str, secret: str, *, overlap_seconds: float = 60) -> str:
    """A secret of this organization; its id."""
    made = await store.webhook_secrets.create(organization, secret=secret, overlap_seconds=overlap_seconds, actor=ACTOR)
    return made.id


async def test_the_one_before_goes_on_for_a_while(store: Store, clock: Clock) -> None:
    """Newest first; the old one until the millisecond at which its overlap ends."""
    organization = await an_organization(store)
    await create(store, organization.name, "whsec_one")
    await create(store, organization.name, "whsec_two")
    clock.at += 60_000 - 1

    before = await store.webhook_secrets.signing(organization.id)
    clock.at += 1

    assert before == ["whsec_two", "whsec_one"]
    assert await store.webhook_secrets.signing(organization.id) == ["whsec_two"]
    assert [secret.last4 for secret in await store.webhook_secrets.all(organization.name)] == ["_two"]


async def test_never_more_than_two_sign(store: Store) -> None:
    """A third one ends the first at once."""
    organization = await an_organization(store)
    for secret in ("whsec_one", "whsec_two", "whsec_three"):
        await create(store, organization.name, secret)

    assert await store.webhook_secrets.signing(organization.id) == ["whsec_three", "whsec_two"]


async def test_without_overlap_the_old_one_is_dead_at_once(store: Store) -> None:
    """As the contract's rotation is."""
    organization = await an_organization(store)
    await create(store, organization.name, "whsec_one")
    await create(store, organization.name, "whsec_two", overlap_seconds=0)

    assert await store.webhook_secrets.signing(organization.id) == ["whsec_two"]


async def test_revoking_the_newest_takes_the_rotation_back(store: Store, clock: Clock) -> None:
    """The one before it counts on, without an end."""
    organization = await an_organization(store)
    await create(store, organization.name, "whsec_one")
    newest = await create(store, organization.name, "whsec_two")

    await store.webhook_secrets.revoke(organization.name, secret_id=newest, actor=ACTOR)
    clock.advance(3_600)

    assert await store.webhook_secrets.signing(organization.id) == ["whsec_one"]
    assert [secret.expires_at for secret in await store.webhook_secrets.all(organization.name)] == [None]


async def test_revoking_all_switches_signing_off(database: Database) -> None:
    """At once, and nothing of them is left."""
    store = database.store
    organization, other = await an_organization(store), await an_organization(store)
    await create(store, organization.name, "whsec_one")
    await create(store, organization.name, "whsec_two")
    await create(store, other.name, "whsec_other")

    revoked = await store.webhook_secrets.revoke(organization.name, secret_id=None, actor=ACTOR)

    assert len(revoked) == 2
    assert await store.webhook_secrets.signing(organization.id) == []
    assert await store.webhook_secrets.signing(other.id) == ["whsec_other"]
    assert database.rows("SELECT count(*) FROM webhook_secret") == [(1,)]


async def test_expired_ones_are_deleted_in_time(database: Database, clock: Clock) -> None:
    """A dead secret does not lie around."""
    organization = await an_organization(database.store)
    await create(database.store, organization.name, "whsec_one")
    await create(database.store, organization.name, "whsec_two")
    clock.advance(60)

    await database.store.upkeep.purge()

    assert database.rows("SELECT secret FROM webhook_secret") == [("whsec_two",)]


async def test_what_is_not_there_is_said(store: Store) -> None:
    """Nobody's organization, another's secret."""
    organization, other = await an_organization(store), await an_organization(store)
    identity = await create(store, organization.name, "whsec_one")

    with pytest.raises(NotFound):
        await create(store, "nobody", "whsec_x")
    with pytest.raises(NotFound):
        await store.webhook_secrets.all("nobody")
    with pytest.raises(NotFound):
        await store.webhook_secrets.revoke(other.name, secret_id=identity, actor=ACTOR)

    assert await store.webhook_secrets.revoke(other.name, secret_id=None, actor=ACTOR) == []


async def test_every_change_is_audited_without_the_secret(store: Store) -> None:
    """Who, what, whose, which id."""
    organization = await an_organization(store)
    identity = await create(store, organization.name, "whsec_one")
    await store.webhook_secrets.revoke(organization.name, secret_id=None, actor=ACTOR)

    revoked, created = (await store.trail.page(2))[:2]

    assert (created.action, created.subject, created.actor) == ("webhook_secret.created", organization.name, ACTOR)
    assert (revoked.action, revoked.details) == ("webhook_secret.revoked", {"secrets": [identity]})
    assert "whsec_one" not in f"{created}{revoked}"


# At rest -------------------------------------------------------------------------------------------------------------


async def test_without_a_key_secrets_are_readable(database: Database) -> None:
    """By whoever can read the database; the documentation says so."""
    organization = await an_organization(database.store)
    await create(database.store, organization.name, "whsec_one")

    assert database.rows("SELECT secret FROM webhook_secret") == [("whsec_one",)]
    await database.store.webhook_secrets.check()


async def test_with_a_key_they_are_sealed(database: Database) -> None:
    """Those from before the key stay as they are, and all of them sign."""
    organization = await an_organization(database.store)
    await create(database.store, organization.name, "whsec_one")
    await database.close()
    store = await database.open(secret_key=KEY)

    await create(store, organization.name, "whsec_two")

    (_, (kept,)) = database.rows("SELECT secret FROM webhook_secret ORDER BY id")
    assert kept.startswith("sealed:")
    assert "whsec" not in kept
    assert await store.webhook_secrets.signing(organization.id) == ["whsec_two", "whsec_one"]


async def test_a_key_is_rotated_with_the_old_one_behind_it(database: Database) -> None:
    """The first seals, all of them open."""
    await database.close()
    store = await database.open(secret_key=KEY)
    organization = await an_organization(store)
    await create(store, organization.name, "whsec_one")
    await database.close()

    store = await database.open(secret_key=f"{OTHER_KEY}, {KEY}")

    await store.webhook_secrets.check()
    assert await store.webhook_secrets.signing(organization.id) == ["whsec_one"]


@pytest.mark.parametrize("key", [None, OTHER_KEY])
async def test_a_missing_key_is_said(database: Database, key: str | None) -> None:
    """Nothing goes out unsigned because a key was forgotten."""
    await database.close()
    store = await database.open(secret_key=KEY)
    organization = await an_organization(store)
    await create(store, organization.name, "whsec_one")
    await database.close()

    store = await database.open(secret_key=key)

    with pytest.raises(SetupError, match="FAIRLANE_SECRET_KEY"):
        await store.webhook_secrets.check()
    with pytest.raises(SetupError, match="FAIRLANE_SECRET_KEY"):
        await store.webhook_secrets.signing(organization.id)


async def test_a_key_that_cannot_be_used_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too short to be random; or the package is missing."""
    await database.close()
    with pytest.raises(SetupError, match="32"):
        await database.open(secret_key=f"{KEY},short")
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(SetupError, match=r"fairlane\[encryption\]"):
        await database.open(secret_key=KEY)

    monkeypatch.undo()
    await database.open()
