"""Values that are remembered for a moment: never longer, and never past a change."""

import pytest

from fairlane.store.cache import Cache
from tests.store.databases import Clock


@pytest.fixture
def cache(clock: Clock) -> Cache[str]:
    """Two values for a second."""
    return Cache(clock, lasts_ms=1_000, most=2)


def test_a_value_is_remembered_for_its_time_from_before_it_was_read(cache: Cache[str], clock: Clock) -> None:
    """Its age counts from the mark, not from when the answer came."""
    mark = cache.mark()
    clock.advance(seconds=0.5)
    cache.keep("key", "acme", mark)

    clock.advance(seconds=0.499)
    assert cache.find("key") == "acme"
    clock.advance(seconds=0.001)
    assert cache.find("key") is None


def test_what_was_read_before_a_change_is_not_remembered_after_it(cache: Cache[str]) -> None:
    """A key may be revoked while it is looked up: the answer that is under way is old."""
    mark = cache.mark()
    cache.clear()
    cache.keep("key", "acme", mark)

    assert cache.find("key") is None
    cache.keep("key", "acme", cache.mark())
    assert cache.find("key") == "acme"


def test_a_clock_that_is_set_back_makes_nothing_last(cache: Cache[str], clock: Clock) -> None:
    """A value from the future is not believed."""
    cache.keep("key", "acme", cache.mark())
    clock.advance(seconds=-1)

    assert cache.find("key") is None


def test_no_more_values_than_allowed(cache: Cache[str]) -> None:
    """One more makes room for itself."""
    for name in ("a", "b", "c"):
        cache.keep(name, name, cache.mark())

    assert sum(cache.find(name) is not None for name in ("a", "b", "c")) <= 2
    assert cache.find("c") == "c"
