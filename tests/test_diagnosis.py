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
    Process,
    State,
    diagnose,
)
from fairlane.model.diagnosis import Content, DeadRows, Engine
from fairlane.model.status import Drift

FLOOR = 100 * 2**20
SQLITE = Engine(
    name="SQLite", address="/srv/fairlane.db", version="3.51.3",
    schema_version=9, schema_known=9, schema_pending=(), schema_unknown=(),
    file_system="ext4", free_bytes=2 * FLOOR,
)  # fmt: skip
POSTGRES = Engine(
    name="PostgreSQL", address="postgresql://db/fairlane", version="18.1",
    schema_version=9, schema_known=9, schema_pending=(), schema_unknown=(),
    skew_ms=3, autovacuum=True,
)  # fmt: skip
CONTENT = Content(
    plans_without_slots=(), organizations=2, organizations_without_slots=(), drifted=(), paused=(), disabled=(),
    maintenance=False, recounted=2, drift=(), served={"PAGE": 1}, queued={"PAGE": 3}, servers=("server host/1",),
    secrets=1, secrets_closed=0,
)  # fmt: skip
PROCESS = Process(address="http://127.0.0.1:8000", version="1", own_version="1", open_files=OPEN_FILES_LEAST)


def found(
    check: str, engine: Engine = SQLITE, content: Content | None = CONTENT, process: Process = PROCESS, **rest: Any
) -> Finding:
    """The one finding of this check."""
    findings = diagnose(engine, content, process, floor_bytes=FLOOR, prepares=rest.get("prepares", True))
    (one,) = [finding for finding in findings if finding.check == check]
    return one


@pytest.mark.parametrize("engine", [SQLITE, POSTGRES])
def test_a_sound_setup_is_fine_throughout(engine: Engine) -> None:
    """Every check is there once, says ok, and advises nothing."""
    findings = diagnose(engine, CONTENT, PROCESS, floor_bytes=FLOOR, prepares=True)

    assert {finding.state for finding in findings} == {State.OK}
    assert {finding.advice for finding in findings} == {""}
    assert len({finding.check for finding in findings}) == len(findings) >= 14


@pytest.mark.parametrize(
    ("check", "engine", "change", "state", "told"),
    [
        ("schema", SQLITE, {"schema_pending": ("0010_more",)}, State.WARNING, "0010_more"),
        ("database", SQLITE, {"schema_version": 0, "schema_pending": ("0001_initial",)}, State.PROBLEM, "/srv"),
        ("schema", SQLITE, {"schema_version": 12, "schema_unknown": (12,)}, State.PROBLEM, "12 is newer than 9"),
        ("durability", POSTGRES, {"unsafe": ("fsync", "full_page_writes")}, State.PROBLEM, "fsync, full_page_writes"),
        ("encoding", POSTGRES, {"encoding": "LATIN1"}, State.PROBLEM, "UTF8 is needed"),
        ("durability", POSTGRES, {"read_only": True}, State.PROBLEM, "read-only"),
        ("clock", POSTGRES, {"skew_ms": SKEW_MS_MOST}, State.OK, "ahead of"),
        ("clock", POSTGRES, {"skew_ms": SKEW_MS_MOST + 1}, State.WARNING, "ahead of"),
        ("clock", POSTGRES, {"skew_ms": -SKEW_MS_MOST - 1}, State.WARNING, "behind"),
        ("file system", SQLITE, {"file_system": "nfs4", "file_system_unsafe": True}, State.PROBLEM, "nfs4"),
        ("disk", SQLITE, {"free_bytes": 2 * FLOOR - 1}, State.WARNING, "free"),
        ("disk", SQLITE, {"free_bytes": FLOOR}, State.WARNING, "free"),
        ("disk", SQLITE, {"free_bytes": FLOOR - 1}, State.PROBLEM, "free"),
        ("autovacuum", POSTGRES, {"autovacuum": False}, State.PROBLEM, "is off"),
        (
            "autovacuum", POSTGRES, {"dead_rows": (DeadRows(table="lease", live=1, dead=1, vacuumed=False),)},
            State.PROBLEM, "of lease is off",
        ),
        (
            "autovacuum", POSTGRES,
            {"dead_rows": (DeadRows(table="lease", live=9, dead=DEAD_LEAST, vacuumed=True),)}, State.OK, "dead rows",
        ),
        (
            "autovacuum", POSTGRES,
            {"dead_rows": (DeadRows(table="lease", live=9, dead=DEAD_LEAST + 1, vacuumed=True),)},
            State.WARNING, "lease (10001 dead rows, 9 live)",
        ),
        ("oldest transaction", POSTGRES, {"oldest_transaction": (TRANSACTION_SECONDS_MOST, "x")}, State.OK, "none"),
        (
            "oldest transaction", POSTGRES, {"oldest_transaction": (TRANSACTION_SECONDS_MOST + 1, "process 7")},
            State.WARNING, "process 7",
        ),
        ("pooler", POSTGRES, {"pooled": True}, State.WARNING, "pooler"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_database_is_told(
    check: str, engine: Engine, change: dict[str, Any], state: State, told: str
) -> None:
    """With its state, what was seen, and what to do unless it is fine."""
    finding = found(check, msgspec.structs.replace(engine, **change))

    assert finding.state is state
    assert told in finding.message
    assert bool(finding.advice) == (state is not State.OK)


@pytest.mark.parametrize(
    ("check", "change", "state", "told"),
    [
        ("servers", {"servers": ()}, State.WARNING, "none is live"),
        ("servers", {"servers": (), "queued": {}}, State.OK, "none is live"),
        ("workers", {"queued": {"PAGE": 1, "IMAGE": 7}}, State.WARNING, "no worker serves IMAGE (7 ready)"),
        ("workers", {"served": {}, "queued": {}}, State.OK, "none live"),
        ("slots", {"plans_without_slots": ("bare",)}, State.WARNING, "plan bare"),
        ("slots", {"organizations_without_slots": ("acme",)}, State.WARNING, "acme"),
        ("drift", {"drifted": ("acme",)}, State.PROBLEM, "acme"),
        (
            "drift", {"drift": (Drift(organization="acme", name="ready", kept=2, counted=1),)}, State.PROBLEM,
            "acme ready says 2, counted 1",
        ),
        ("organizations", {"paused": ("acme",), "disabled": ("other",)}, State.WARNING, "(paused), other (disabled)"),
        ("organizations", {"paused": tuple("abcdefg")}, State.WARNING, "e (paused) and 2 more"),
        ("maintenance", {"maintenance": True}, State.WARNING, "on"),
        ("webhook secrets", {"secrets": 3, "secrets_closed": 1}, State.PROBLEM, "1 of 3"),
    ],
)  # fmt: skip
def test_what_keeps_work_from_being_done_is_told(check: str, change: dict[str, Any], state: State, told: str) -> None:
    """The same of what is in the database."""
    finding = found(check, content=msgspec.structs.replace(CONTENT, **change))

    assert finding.state is state
    assert told in finding.message
    assert bool(finding.advice) == (state is not State.OK)


@pytest.mark.parametrize(
    ("check", "change", "state", "told"),
    [
        ("server", {"version": "0.9"}, State.WARNING, "runs 0.9, this is 1"),
        ("server", {"version": None}, State.OK, "none"),
        ("server", {"version": None, "owned": True}, State.WARNING, "does not answer"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=True),)}, State.OK, "ready"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=True, version="1"),)}, State.OK, "runs 1"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=True, version="2"),)}, State.WARNING, "runs 2"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=False),)}, State.WARNING, "not ready"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=False, reason="why"),)}, State.WARNING, "ready: why"),
        ("local workers", {"worker_trouble": "load raised"}, State.PROBLEM, "can start: load raised"),
        ("server u", {"elsewhere": (Elsewhere(address="u", ready=None),)}, State.PROBLEM, "does not answer"),
        ("open files", {"open_files": OPEN_FILES_LEAST - 1}, State.WARNING, "4095"),
    ],
)
def test_what_is_wrong_with_a_server_is_told(check: str, change: dict[str, Any], state: State, told: str) -> None:
    """The same of the process on this machine."""
    finding = found(check, process=msgspec.structs.replace(PROCESS, **change))

    assert finding.state is state
    assert told in finding.message
    assert bool(finding.advice) == (state is not State.OK)


def test_a_pooler_is_fine_if_nothing_is_prepared() -> None:
    """FAIRLANE_PG_PREPARE=off is the answer to it."""
    pooled = msgspec.structs.replace(POSTGRES, pooled=True)

    assert found("pooler", pooled, prepares=False).state is State.OK
