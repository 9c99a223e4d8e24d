"""What the doctor says of what it saw: just below and just above each bound."""

from typing import Any

import msgspec
import pytest

from fairlane.diagnosis import (
    DEAD_LEAST,
    OPEN_FILES_LEAST,
    SKEW_MS_MOST,
    TRANSACTION_SECONDS_MOST,
    Elsewhere,
    Finding,
    Grade,
    Process,
    diagnose,
)
from fairlane.model.diagnosis import Content, DatabaseFacts, DeadRows
from fairlane.model.fleet import FailedStart
from fairlane.model.status import Drift

FLOOR = 100 * 2**20
SQLITE = DatabaseFacts(
    name="SQLite", address="/srv/fairlane.db", version="3.51.3",
    schema_version=9, schema_known=9, schema_pending=(), schema_unknown=(),
    file_system="ext4", free_bytes=2 * FLOOR,
)  # fmt: skip
POSTGRES = DatabaseFacts(
    name="PostgreSQL", address="postgresql://db/fairlane", version="18.1",
    schema_version=9, schema_known=9, schema_pending=(), schema_unknown=(),
    skew_ms=3, autovacuum=True,
)  # fmt: skip
CONTENT = Content(
    plans_without_slots=(), organizations=2, organizations_without_slots=(), drifted=(), paused=(), disabled=(),
    maintenance=False, recounted=2, drift=(), served={"PAGE": 1}, queued={"PAGE": 3}, servers=("server host/1",),
    failed_starts=(), secrets=1, secrets_closed=0,
)  # fmt: skip
PROCESS = Process(address="http://127.0.0.1:8000", version="1", own_version="1", open_files=OPEN_FILES_LEAST)


def found(
    check: str,
    engine: DatabaseFacts = SQLITE,
    content: Content | None = CONTENT,
    process: Process = PROCESS,
    **rest: Any,
) -> Finding:
    """The one finding of this check."""
    findings = diagnose(engine, content, process, floor_bytes=FLOOR, prepares=rest.get("prepares", True))
    (one,) = [finding for finding in findings if finding.check == check]
    return one


@pytest.mark.parametrize("engine", [SQLITE, POSTGRES])
def test_a_sound_setup_is_fine_throughout(engine: DatabaseFacts) -> None:
    """Every check is there once, says ok, and advises nothing."""
    findings = diagnose(engine, CONTENT, PROCESS, floor_bytes=FLOOR, prepares=True)

    assert {finding.state for finding in findings} == {Grade.OK}
    assert {finding.advice for finding in findings} == {""}
    assert len({finding.check for finding in findings}) == len(findings) >= 14


@pytest.mark.parametrize(
    ("check", "engine", "change", "state", "told"),
    [
        ("schema", SQLITE, {"schema_pending": ("0010_more",)}, Grade.WARNING, "0010_more"),
        ("database", SQLITE, {"schema_version": 0, "schema_pending": ("0001_initial",)}, Grade.PROBLEM, "/srv"),
        ("schema", SQLITE, {"schema_version": 12, "schema_unknown": (12,)}, Grade.PROBLEM, "12 is newer than 9"),
        ("durability", POSTGRES, {"unsafe": ("fsync", "full_page_writes")}, Grade.PROBLEM, "fsync, full_page_writes"),
        ("encoding", POSTGRES, {"encoding": "LATIN1"}, Grade.PROBLEM, "UTF8 is needed"),
        ("durability", POSTGRES, {"read_only": True}, Grade.PROBLEM, "read-only"),
        ("clock", POSTGRES, {"skew_ms": SKEW_MS_MOST}, Grade.OK, "ahead of"),
        ("clock", POSTGRES, {"skew_ms": SKEW_MS_MOST + 1}, Grade.WARNING, "ahead of"),
        ("clock", POSTGRES, {"skew_ms": -SKEW_MS_MOST - 1}, Grade.WARNING, "behind"),
        ("file system", SQLITE, {"file_system": "nfs4", "file_system_unsafe": True}, Grade.PROBLEM, "nfs4"),
        ("disk", SQLITE, {"free_bytes": 2 * FLOOR - 1}, Grade.WARNING, "free"),
        ("disk", SQLITE, {"free_bytes": FLOOR}, Grade.WARNING, "free"),
        ("disk", SQLITE, {"free_bytes": FLOOR - 1}, Grade.PROBLEM, "free"),
        ("autovacuum", POSTGRES, {"autovacuum": False}, Grade.PROBLEM, "is off"),
        (
            "autovacuum", POSTGRES, {"dead_rows": (DeadRows(table="lease", live=1, dead=1, vacuumed=False),)},
            Grade.PROBLEM, "of lease is off",
        ),
        (
            "autovacuum", POSTGRES,
            {"dead_rows": (DeadRows(table="lease", live=9, dead=DEAD_LEAST, vacuumed=True),)}, Grade.OK, "dead rows",
        ),
        (
            "autovacuum", POSTGRES,
            {"dead_rows": (DeadRows(table="lease", live=9, dead=DEAD_LEAST + 1, vacuumed=True),)},
            Grade.WARNING, "lease (10001 dead rows, 9 live)",
        ),
        ("oldest transaction", POSTGRES, {"oldest_transaction": (TRANSACTION_SECONDS_MOST, "x")}, Grade.OK, "none"),
        (
            "oldest transaction", POSTGRES, {"oldest_transaction": (TRANSACTION_SECONDS_MOST + 1, "process 7")},
            Grade.WARNING, "process 7",
        ),
        ("pooler", POSTGRES, {"pooled": True}, Grade.WARNING, "pooler"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_database_is_told(
    check: str, engine: DatabaseFacts, change: dict[str, Any], state: Grade, told: str
) -> None:
    """With its state, what was seen, and what to do unless it is fine."""
    finding = found(check, msgspec.structs.replace(engine, **change))

    assert finding.state is state
    assert told in finding.message
    assert bool(finding.advice) == (state is not Grade.OK)


@pytest.mark.parametrize(
    ("check", "change", "state", "told"),
    [
        ("servers", {"servers": ()}, Grade.WARNING, "none is live"),
        ("servers", {"servers": (), "queued": {}}, Grade.OK, "none is live"),
        ("workers", {"queued": {"PAGE": 1, "IMAGE": 7}}, Grade.WARNING, "no worker serves IMAGE (7 ready)"),
        ("workers", {"served": {}, "queued": {}}, Grade.OK, "none live"),
        ("slots", {"plans_without_slots": ("bare",)}, Grade.WARNING, "plan bare"),
        ("slots", {"organizations_without_slots": ("acme",)}, Grade.WARNING, "acme"),
        ("drift", {"drifted": ("acme",)}, Grade.PROBLEM, "acme"),
        (
            "drift", {"drift": (Drift(organization="acme", name="ready", kept=2, counted=1),)}, Grade.PROBLEM,
            "acme ready says 2, counted 1",
        ),
        ("organizations", {"paused": ("acme",), "disabled": ("other",)}, Grade.WARNING, "(paused), other (disabled)"),
        ("organizations", {"paused": tuple("abcdefg")}, Grade.WARNING, "e (paused) and 2 more"),
        ("maintenance", {"maintenance": True}, Grade.WARNING, "on"),
        ("webhook secrets", {"secrets": 3, "secrets_closed": 1}, Grade.PROBLEM, "1 of 3"),
    ],
)  # fmt: skip
def test_what_keeps_work_from_being_done_is_told(check: str, change: dict[str, Any], state: Grade, told: str) -> None:
    """The same of what is in the database."""
    finding = found(check, content=msgspec.structs.replace(CONTENT, **change))

    assert finding.state is state
    assert told in finding.message
    assert bool(finding.advice) == (state is not Grade.OK)


@pytest.mark.parametrize(
    ("check", "change", "state", "told"),
    [
        ("server", {"version": "0.9"}, Grade.WARNING, "runs 0.9, this is 1"),
        ("server", {"version": None}, Grade.OK, "none"),
        ("server", {"version": None, "owned": True}, Grade.WARNING, "does not answer"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=True),)}, Grade.OK, "ready"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=True, version="1"),)}, Grade.OK, "runs 1"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=True, version="2"),)}, Grade.WARNING, "runs 2"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=False),)}, Grade.WARNING, "not ready"),
        (
            "server u",
            {"elsewhere": (Elsewhere(address="u", ready=False, reason="why"),)},
            Grade.WARNING,
            "ready: why",
        ),
        ("local workers", {"worker_trouble": "load raised"}, Grade.PROBLEM, "can start: load raised"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=None),)}, Grade.PROBLEM, "does not answer"),
        ("open files", {"open_files": OPEN_FILES_LEAST - 1}, Grade.WARNING, "4095"),
    ],
)
def test_what_is_wrong_with_a_server_is_told(check: str, change: dict[str, Any], state: Grade, told: str) -> None:
    """The same of the process on this machine."""
    finding = found(check, process=msgspec.structs.replace(PROCESS, **change))

    assert finding.state is state
    assert told in finding.message
    assert bool(finding.advice) == (state is not Grade.OK)


def test_workers_that_cannot_start_are_a_problem() -> None:
    """With the machine, since when, how often, and why."""
    failed = FailedStart(
        host="build-7", application="shop:app", key=None, cause="it raised", version="1", failures=4,
        first_at=1_800_000_000_000, last_at=1_800_000_060_000,
    )  # fmt: skip
    finding = found("worker starts", content=msgspec.structs.replace(CONTENT, failed_starts=(failed,)))

    assert finding.state is Grade.PROBLEM
    assert finding.message == (
        "no worker can start: shop:app on build-7 since 2027-01-15 08:00 UTC, 4 failed: it raised"
    )


def test_a_pooler_is_fine_if_nothing_is_prepared() -> None:
    """FAIRLANE_PG_PREPARE=off is the answer to it."""
    pooled = msgspec.structs.replace(POSTGRES, pooled=True)

    assert found("pooler", pooled, prepares=False).state is Grade.OK
