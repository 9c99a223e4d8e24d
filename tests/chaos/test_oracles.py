"""The oracles of a chaos run find what they look for, and nothing in a run without a fault."""

import sqlite3

import pytest

from tests.chaos import bulks, track
from tests.chaos.witness import Limits


def log(*lines: str) -> track.Track:
    return track.read(lines)


def alive(process: str, *, until: float) -> list[str]:
    return [f"{at / 20:.2f} {process} alive" for at in range(round(until * 20) + 1)]


def test_handlers_within_the_limit_are_no_finding():
    """A handler that starts at the moment another one ends shares no slot with it."""
    seen = log("1.0 p start acme l1 t1", "2.0 p end acme l1 t1", "2.0 p start acme l2 t2", "3.0 p end acme l2 t2")

    assert track.over_limits(seen, {"acme": 1}) == []
    assert track.overlaps(seen) == 0
    assert seen.ended("l1")
    assert seen.ended("l2")


def test_one_handler_more_than_slots_is_found():
    """Two processes that run a handler each for an organization with one slot are found, with the moment."""
    seen = log("1.0 p start acme l1 t1", "1.5 q start acme l2 t2", "2.0 p end acme l1 t1", "2.5 q end acme l2 t2")

    assert track.over_limits(seen, {"acme": 1}) == [("acme", 2, 1.5)]
    assert track.over_limits(seen, {"acme": 2}) == []


def test_two_attempts_of_one_task_at_once_are_found():
    """The second attempt began before the first one ended."""
    seen = log("1.0 p start acme l1 t1", "1.5 q start acme l2 t1", "2.0 p end acme l1 t1", "2.5 q end acme l2 t1")

    assert track.overlaps(seen) == 1


@pytest.mark.parametrize(("killed_after", "found"), [(1.4, 0), (1.6, 1)])
def test_a_killed_handler_ran_until_the_last_sign_of_life(killed_after: float, found: int):
    """A handler without an end counts as long as its process wrote lines, and no longer; it did not come to its end."""
    seen = log(
        "1.0 p start acme l1 t1", *alive("p", until=killed_after), "1.5 q start acme l2 t1", "2.0 q end acme l2 t1"
    )

    assert track.overlaps(seen) == len(track.over_limits(seen, {"acme": 1})) == found
    assert not seen.ended("l1")


def test_a_handler_whose_process_stood_still_counts_until_the_pause():
    """The overlap with a stopped process that wakes cannot be prevented, so it is counted apart."""
    before, other = alive("p", until=1.2), alive("q", until=8.0)
    seen = log(
        "1.0 p start acme l1 t1",
        *(*before, *other),
        "5.0 q start acme l2 t1",
        "6.0 p end acme l1 t1",
        "7.0 q end acme l2 t1",
    )

    assert track.overlaps(seen) == 0
    assert track.over_limits(seen, {"acme": 1}) == []
    assert seen.stood_still == 1


def test_samples_follow_a_limit_that_changes():
    """More leases than the limit are found, except those that a lowered limit left."""
    limits = Limits(lambda *_: [])

    assert not limits.exceeded("acme", 2, 0, 2)
    assert limits.exceeded("acme", 2, 0, 3)
    assert not limits.exceeded("acme", 2, 0, 3)  # the same excess, told once
    assert not limits.exceeded("acme", 4, 1, 4)
    assert not limits.exceeded("acme", 1, 2, 4)  # lowered: all four may finish
    assert not limits.exceeded("acme", 1, 2, 3)
    assert limits.exceeded("acme", 1, 2, 4)  # but none may be added


def test_a_lowered_limit_that_is_raised_again_leaves_what_ran():
    """Three leases from the time of a higher limit outlast two changes of it, and none may be added."""
    limits = Limits(lambda *_: [])
    limits.exceeded("acme", 4, 0, 3)
    limits.exceeded("acme", 1, 1, 3)

    assert not limits.exceeded("acme", 2, 2, 3)
    assert limits.exceeded("acme", 2, 2, 4)


def test_limits_between_two_samples_come_from_the_trail():
    """What a limit was for a moment between two samples counts; what it was before them does not."""
    changes = [4, 4, 1, 3, 1]
    limits = Limits(lambda _, first, last: changes[first:last])
    limits.exceeded("acme", 1, 3, 1)

    assert not limits.exceeded("acme", 1, 5, 3)
    assert limits.exceeded("acme", 1, 5, 4)


@pytest.mark.parametrize(
    ("again", "done", "last", "state", "found"),
    [
        (["0"], 1, bulks.FAILED, "DONE", (0, 0, 0, 0)),
        (["0", "0"], 2, bulks.FAILED, "DONE", (1, 0, 0, 1)),
        (["0"], 2, bulks.FAILED, "DONE", (0, 1, 0, 0)),
        (["0"], 1, bulks.FAILED, "RUNNING", (0, 0, 1, 0)),
        (["0"], 1, bulks.FAILED - 1, "DONE", (0, 0, 0, 1)),
    ],
    ids=["sound", "twice", "miscounted", "unended", "left out"],
)
def test_what_a_bulk_did_wrong_is_found(again: list[str], done: int, last: int, state: str, found: tuple[int, ...]):
    """A task that was run again twice, a number that is not true, a bulk without an end, a task that it left out."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE task (id TEXT, task_type TEXT, retry_of TEXT)")
    database.execute("CREATE TABLE bulk (id TEXT, kind TEXT, state TEXT, done INTEGER)")
    database.executemany("INSERT INTO task VALUES (?, 'DOOMED', NULL)", [(str(n),) for n in range(bulks.FAILED)])
    database.executemany("INSERT INTO task VALUES (?, 'DOOMED', ?)", [(f"again-{n}", of) for n, of in enumerate(again)])
    database.execute("INSERT INTO bulk VALUES ('a bulk', 'retry', ?, ?)", (state, done))

    def ask(sql: str) -> list[tuple]:
        return database.execute(sql).fetchall()

    seen = (len(bulks.repeated(ask)), bulks.untrue(ask), len(bulks.unended(ask)), bulks.left_out(ask, last))
    assert seen == found
