"""The mirror of the rows shows what a whole read shows, and notices if it does not."""

import pytest

from tests.reference.invariants import read_snapshot
from tests.reference.mirror import Mirror
from tests.simulation.database import a_database

ADD = (
    "INSERT INTO queue_entry (organization_id, task_type, rank, seq, task_id, attempt) VALUES (1, 'WORK', 5, :1, :2, 0)"
)
RETURN = (
    "INSERT INTO attempt (organization_id, task_id, place, starts, number, lease_id, started_at, ended_at, ending,"
    " slot_wait_ms, worker_wait_ms) VALUES (1, :1, :2, :2, :2, 'lease', 1, 2, 'FAILED', 0, 0)"
)


def test_changed_rows_are_read_again() -> None:
    """Rows that were added, changed, deleted and rolled back are as a whole read shows them."""
    connection = a_database()
    connection.execute(ADD, (1, "before"))
    mirror = Mirror(connection)

    connection.execute(ADD, (2, "added"))
    connection.execute(RETURN, ("added", 1))
    connection.execute(RETURN, ("added", 2))
    first = mirror.look()
    connection.execute("UPDATE queue_entry SET attempt = 1, task_id = 'renamed' WHERE task_id = 'added'")
    connection.execute("DELETE FROM queue_entry WHERE task_id = 'before'")
    connection.execute("BEGIN")
    connection.execute(ADD, (3, "rolled back"))
    connection.execute("ROLLBACK")
    second = mirror.look()

    assert first is not None
    assert second is not None
    assert first[1] == {"added"}
    assert [one.starts for one in first[0].attempts["added"]] == [1, 2]
    assert first[0].ready.keys() == {"before", "added"}
    assert second[1] == {"added", "renamed", "before"}
    assert second[0] == read_snapshot(lambda sql: connection.execute(sql).fetchall())
    assert mirror.look() is None


def test_two_rows_of_one_task_are_seen() -> None:
    """A task that is in a table twice is named, as by a whole read."""
    connection = a_database()
    mirror = Mirror(connection)

    connection.execute(ADD, (1, "twice"))
    connection.execute(ADD, (2, "twice"))
    seen = mirror.look()

    assert seen is not None
    assert seen[0].doubled == ("ready",)


def test_a_change_that_was_not_noted_is_found() -> None:
    """The comparison with a whole read fails if a row changed unnoticed."""
    connection = a_database()
    mirror = Mirror(connection)
    connection.preupdate_hook(None)

    connection.execute(ADD, (1, "unseen"))

    with pytest.raises(AssertionError, match="mirror"):
        mirror.compare()
