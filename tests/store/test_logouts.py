"""Sessions of the dashboard that were ended: which are, for how long that is kept, and what goes."""

from fairlane.store import Store
from fairlane.store.logouts import KEPT_MS
from tests.store.databases import Clock


async def test_a_session_that_was_ended_is_ended_for_good(store: Store) -> None:
    """Also the second time; another one is not."""
    await store.logouts.add("one", expires_at=store.now() + 60_000)
    await store.logouts.add("one", expires_at=store.now() + 60_000)

    assert await store.logouts.contains("one")
    assert not await store.logouts.contains("another")


async def test_a_look_names_those_of_its_viewers_that_were_ended(store: Store) -> None:
    """And none that was not asked about."""
    for session_id in ("one", "two"):
        await store.logouts.add(session_id, expires_at=store.now() + 60_000)

    live = await store.dashboard.live([], everything=False, session_ids=["one", "three"])

    assert live.ended == {"one"}


async def test_an_end_is_kept_until_a_day_after_the_cookie_expires(store: Store, clock: Clock) -> None:
    """Not a moment shorter: a clock that is set back must revive no session. Then it is deleted."""
    await store.logouts.add("one", expires_at=store.now() + 60_000)
    await store.logouts.add("later", expires_at=store.now() + 90_000)

    clock.at += 60_000 + KEPT_MS - 1
    assert await store.upkeep.purge() == 0
    assert await store.logouts.contains("one")
    clock.at += 1

    assert await store.upkeep.purge() == 1
    assert (await store.logouts.contains("one"), await store.logouts.contains("later")) == (False, True)
