"""How the doctor judges what it saw: each check is OK, a warning or a problem, with advice. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct

from fairlane.model.diagnosis import Content, DatabaseFacts

SKEW_MS_MOST = 1_000
TRANSACTION_SECONDS_MOST = 60
"""Longest normal age of a transaction. An older one prevents the cleanup of dead rows in queues and slows down
claims."""
DEAD_LEAST = 10_000
OPEN_FILES_LEAST = 4_096
NAMES_SHOWN = 5


class Grade(StrEnum):
    """The result of one check."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(Struct, frozen=True):
    """One check."""

    check: str
    state: Grade
    message: str
    advice: str = ""
    """What to do; empty if the check is OK."""


class Elsewhere(Struct, frozen=True, kw_only=True):
    """A server at an address that was given to the doctor."""

    address: str
    ready: bool | None
    """Whether it would accept a submit, or None if no fairlane server answers there."""
    reason: str = ""
    """Why it is not ready, in its own words."""
    version: str | None = None
    """None if there is no admin key that it accepts."""


class Process(Struct, frozen=True, kw_only=True):
    """The server on this machine, or this process instead."""

    address: str | None = None
    version: str | None = None
    """None if no server was reached."""
    own_version: str
    open_files: int | None = None
    """How many files it may open, or None if unknown."""
    owned: bool = False
    """Whether a process owns the file but does not answer."""
    worker_trouble: str | None = None
    """Why none of the server's own workers can start, or None if one can, as far as is known."""
    elsewhere: tuple[Elsewhere, ...] = ()


def diagnose(
    engine: DatabaseFacts, content: Content | None, process: Process, *, floor_bytes: int, prepares: bool
) -> list[Finding]:
    """Return every check, in the order in which to fix things. ``content`` is None if the schema is not ours."""
    findings = [
        _database(engine),
        *_schema(engine),
        *_encoding(engine),
        *_durability(engine),
        *_clock(engine),
        *_disk(engine, floor_bytes),
        *_cleaning(engine),
        *_pooler(engine, prepares=prepares),
        *_process(process),
    ]
    return findings if content is None else [*findings, *_content(content)]


def unreachable(message: str) -> Finding:
    """Return the only finding if the database cannot be opened."""
    return Finding(
        "database", Grade.PROBLEM, message, "check the address, that the database runs, and that it lets you in"
    )


# The database --------------------------------------------------------------------------------------------------------


def _database(engine: DatabaseFacts) -> Finding:
    if engine.schema_version or engine.schema_unknown:
        return Finding("database", Grade.OK, f"{engine.name} {engine.version} answers")
    return Finding(
        "database", Grade.PROBLEM, f"there is no fairlane database at {engine.address}",
        "check --database and FAIRLANE_DATABASE; if they are right, start a server, or 'fairlane migrate'",
    )  # fmt: skip


def _schema(engine: DatabaseFacts) -> Iterable[Finding]:
    if engine.schema_unknown:
        yield Finding(
            "schema", Grade.PROBLEM,
            f"version {engine.schema_version} is newer than {engine.schema_known}, which this fairlane knows",
            "use the newer release",
        )  # fmt: skip
    elif engine.schema_pending and engine.schema_version:
        yield Finding(
            "schema", Grade.WARNING,
            f"version {engine.schema_version}, pending: {', '.join(engine.schema_pending)}",
            "run 'fairlane migrate', or start a server of this release",
        )  # fmt: skip
    elif engine.schema_version:
        yield Finding("schema", Grade.OK, f"version {engine.schema_version}, up to date")


def _encoding(engine: DatabaseFacts) -> Iterable[Finding]:
    if engine.encoding is not None:
        yield Finding(
            "encoding", Grade.PROBLEM, f"the database keeps texts as {engine.encoding}, UTF8 is needed",
            "create another one: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'",
        )  # fmt: skip


def _durability(engine: DatabaseFacts) -> Iterable[Finding]:
    if engine.unsafe:
        yield Finding(
            "durability", Grade.PROBLEM, f"{', '.join(engine.unsafe)} off: what was acknowledged may be lost",
            "switch it on; no server starts until then",
        )  # fmt: skip
    elif engine.read_only:
        yield Finding("durability", Grade.PROBLEM, "it is read-only", "give the address of the primary")
    else:
        yield Finding("durability", Grade.OK, "commits are synced to disk")


def _clock(engine: DatabaseFacts) -> Iterable[Finding]:
    if engine.skew_ms is None:
        return
    message = f"the database's clock is {abs(engine.skew_ms)} ms {'ahead of' if engine.skew_ms >= 0 else 'behind'} ours"
    if abs(engine.skew_ms) > SKEW_MS_MOST:
        yield Finding(
            "clock",
            Grade.WARNING,
            message,
            "synchronize both clocks: times in logs do not fit together otherwise",
        )
    else:
        yield Finding("clock", Grade.OK, message)


def _disk(engine: DatabaseFacts, floor_bytes: int) -> Iterable[Finding]:
    if engine.file_system_unsafe:
        yield Finding(
            "file system", Grade.PROBLEM, f"{engine.file_system} is a network file system", "use a local disk"
        )
    elif engine.file_system is not None:
        yield Finding("file system", Grade.OK, engine.file_system)
    if engine.free_bytes is None:
        return
    message = f"{engine.free_bytes // 2**20} MiB free, submits are refused below {floor_bytes // 2**20} MiB"
    if engine.free_bytes < floor_bytes:
        yield Finding("disk", Grade.PROBLEM, message, "make room: every submit is answered 503")
    elif engine.free_bytes < 2 * floor_bytes:
        yield Finding("disk", Grade.WARNING, message, "make room soon")
    else:
        yield Finding("disk", Grade.OK, message)


def _cleaning(engine: DatabaseFacts) -> Iterable[Finding]:
    if engine.autovacuum is None:
        return
    switched_off = [one.table for one in engine.dead_rows if not one.vacuumed]
    bloated = [one for one in engine.dead_rows if one.dead > max(DEAD_LEAST, one.live)]
    if not engine.autovacuum or switched_off:
        of = f" of {_names(switched_off)}" if engine.autovacuum else ""
        yield Finding(
            "autovacuum",
            Grade.PROBLEM,
            f"autovacuum{of} is off: queues will become slower and slower",
            "switch it on",
        )
    elif bloated:
        named = [f"{one.table} ({one.dead} dead rows, {one.live} live)" for one in bloated]
        yield Finding(
            "autovacuum", Grade.WARNING, f"does not keep up: {_names(named)}",
            "end old transactions; give autovacuum more workers",
        )  # fmt: skip
    else:
        dead = sum(one.dead for one in engine.dead_rows)
        yield Finding("autovacuum", Grade.OK, f"on; {dead} dead rows")
    if engine.oldest_transaction is not None and engine.oldest_transaction[0] > TRANSACTION_SECONDS_MOST:
        seconds, who = engine.oldest_transaction
        yield Finding(
            "oldest transaction", Grade.WARNING, f"open for {seconds} s: {who}",
            "end it: while it is open nothing is cleaned up, and claims slow down",
        )  # fmt: skip
    else:
        yield Finding("oldest transaction", Grade.OK, "none is old")


def _pooler(engine: DatabaseFacts, *, prepares: bool) -> Iterable[Finding]:
    if engine.autovacuum is None:
        return
    if engine.pooled and prepares:
        yield Finding(
            "pooler", Grade.WARNING, "something other than the database answers, perhaps a pooler",
            "if it pools transactions and does not support prepared statements, set FAIRLANE_PG_PREPARE=off",
        )  # fmt: skip
    else:
        yield Finding("pooler", Grade.OK, "a pooler, and nothing is prepared" if engine.pooled else "none")


# Processes -----------------------------------------------------------------------------------------------------------


def _process(process: Process) -> Iterable[Finding]:
    if process.owned:
        yield Finding(
            "server", Grade.WARNING, "a process owns the file and does not answer",
            "it may be starting, ending or hanging: look at its log",
        )  # fmt: skip
    elif process.version is None:
        yield Finding("server", Grade.OK, "none was looked for, or none runs on this machine")
    elif process.version != process.own_version:
        yield Finding(
            "server", Grade.WARNING, f"{process.address} runs {process.version}, this is {process.own_version}",
            "restart it with this release, or use that one's command",
        )  # fmt: skip
    else:
        yield Finding("server", Grade.OK, f"{process.address} runs {process.version}")
    if process.worker_trouble is not None:
        yield Finding(
            "local workers", Grade.PROBLEM, f"no worker of {process.address} can start: {process.worker_trouble}",
            "fix the application; the server tries again by itself, and its log has the traceback",
        )  # fmt: skip
    for one in process.elsewhere:
        yield _elsewhere(one, process.own_version)
    if process.open_files is None:
        return
    if process.open_files < OPEN_FILES_LEAST:
        yield Finding(
            "open files", Grade.WARNING, f"at most {process.open_files}: each connection is one",
            "raise the limit (LimitNOFILE=65536 in a systemd unit)",
        )  # fmt: skip
    else:
        yield Finding("open files", Grade.OK, f"at most {process.open_files}")


def _elsewhere(one: Elsewhere, own_version: str) -> Finding:
    check = f"server {one.address}"
    if one.ready is None:
        return Finding(check, Grade.PROBLEM, "does not answer", "check the address, any proxy before it, and its log")
    if not one.ready:
        return Finding(
            check, Grade.WARNING, f"answers but is not ready: {one.reason or 'it gives no reason'}",
            "it drains, its database is unreachable, its disk is full, or no worker can start: look at its log",
        )  # fmt: skip
    if one.version not in (None, own_version):
        return Finding(check, Grade.WARNING, f"runs {one.version}, this is {own_version}", "finish the upgrade")
    return Finding(check, Grade.OK, "ready" if one.version is None else f"ready, runs {one.version}")


# Content -------------------------------------------------------------------------------------------------------------


def _content(content: Content) -> Iterable[Finding]:
    yield _unless(
        "servers", bool(content.servers) or not content.queued,
        f"live: {_names(content.servers)}" if content.servers else "none is live",
        "start one: tasks wait",
    )  # fmt: skip
    unserved = {task_type: count for task_type, count in content.queued.items() if task_type not in content.served}
    yield _unless(
        "workers", not unserved,
        f"no worker serves {_names([f'{name} ({count} ready)' for name, count in sorted(unserved.items())])}"
        if unserved
        else f"by type: {_names([f'{name} {count}' for name, count in sorted(content.served.items())]) or 'none live'}",
        "start a worker whose application has this type, or cancel these tasks",
    )  # fmt: skip
    failed = [
        f"{one.application} on {one.host} since {_clock_time(one.first_at)}, {one.failures} failed: {one.cause}"
        for one in content.failed_starts
    ]
    yield _unless(
        "worker starts", not failed,
        f"no worker can start: {_names(failed)}" if failed else "no failed start in the last 15 minutes",
        "fix the application; it is tried again by itself, or start the worker again", worst=Grade.PROBLEM,
    )  # fmt: skip
    without = [f"plan {name}" for name in content.plans_without_slots] + list(content.organizations_without_slots)
    yield _unless(
        "slots", not without,
        f"without slots, so nothing starts: {_names(without)}" if without else "every plan and organization has slots",
        "fairlane plans change PLAN --slots N, or fairlane organizations change NAME --slots N",
    )  # fmt: skip
    yield _unless(
        "drift", not content.drift and not content.drifted,
        f"counts differ from their rows: {_drifting(content)}" if content.drift or content.drifted
        else f"{content.recounted} of {content.organizations} organizations recounted, all exact",
        "a server repairs what its self-audit finds; keep its log and report it, because this must never happen",
        worst=Grade.PROBLEM,
    )  # fmt: skip
    apart = [f"{name} (paused)" for name in content.paused] + [f"{name} (disabled)" for name in content.disabled]
    yield _unless(
        "organizations", not apart,
        f"paused or disabled: {_names(apart)}" if apart else f"{content.organizations}, none paused or disabled",
        "fairlane organizations resume NAME, or enable NAME, if that is over",
    )  # fmt: skip
    yield _unless(
        "maintenance", not content.maintenance,
        "on: concurrency reads null for all organizations" if content.maintenance else "off",
        "fairlane maintenance off, when it is over",
    )  # fmt: skip
    yield _unless(
        "webhook secrets", not content.secrets_closed,
        f"{content.secrets_closed} of {content.secrets} cannot be decrypted with the key here" if content.secrets_closed
        else f"{content.secrets}, all can be decrypted with the key here",
        "set FAIRLANE_SECRET_KEY to the key that encrypted them; separate several with commas", worst=Grade.PROBLEM,
    )  # fmt: skip


def _drifting(content: Content) -> str:
    now = [f"{one.organization} {one.name} says {one.kept}, counted {one.counted}" for one in content.drift]
    return _names(now or content.drifted)


def _clock_time(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment / 1_000, UTC):%Y-%m-%d %H:%M} UTC"


def _unless(check: str, well: bool, message: str, advice: str, *, worst: Grade = Grade.WARNING) -> Finding:
    return Finding(check, Grade.OK, message) if well else Finding(check, worst, message, advice)


def _names(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
