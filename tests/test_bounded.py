"""A dict with a bound."""

from fairlane.bounded import Bounded


def test_the_least_recently_set_entry_is_dropped() -> None:
    """Below its bound it keeps every entry; a value that is set again is the newest."""
    memory: Bounded[str, int] = Bounded(2)
    memory["a"], memory["b"] = 1, 2
    assert memory == {"a": 1, "b": 2}

    memory["a"] = 3
    memory["c"] = 4

    assert list(memory.items()) == [("a", 3), ("c", 4)]
