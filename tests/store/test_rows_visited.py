"""What a list, a filter or a report reads does not grow with what it does not show.

Each database gets 60,000 rows of another kind. Then every statement that only reads is run as its operation runs it,
and the rows that it visits are counted: by EXPLAIN (ANALYZE) on PostgreSQL, by the steps of SQLite's virtual machine.
"""

import json
import random
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from fairlane.errors import NotFound, TaskNotFailed
from fairlane.model.leases import Failed, Report
from fairlane.model.organizations import EVERY_ORGANIZATION
from fairlane.model.tasks import TaskFilter, TaskStatus
from fairlane.model.webhooks import DeliveryFilter, DeliveryStatus
from fairlane.store import (
    Store,
    alerts,
    attempts,
    bulks,
    calls,
    credits,
    dashboard,
    deliveries,
    erasing,
    failed_starts,
    failures,
    fleet,
    keys,
    lanes,
    leases,
    maintenance,
    months,
    organizations,
    overview,
    plans,
    pulses,
    rates,
    recount,
    sessions,
    slots,
    statements,
    tasks,
    trail,
    type_usage,
    upkeep,
    usage,
    waits,
    webhook_hosts,
    webhook_secrets,
)
from fairlane.store.counting import STEP
from fairlane.store.filtering import LOOK_MOST
from fairlane.store.postgres import connection
from fairlane.store.postgres.asking import BEGIN_SNAPSHOT
from fairlane.store.postgres.numbering import NumberedStatement, numbered
from fairlane.store.postgres.opening import Plain
from fairlane.store.statements import Operation, Query, run
from tests.builders import DONE, Worker, a_task, a_worker, an_organization
from tests.store.databases import DATABASES, Clock, PostgresServer, adapter_of

ROWS = 60_000
"""Queued tasks of one organization."""
FEW = 12_000
"""Rows of each other kind: still many times what a page shows."""
VISITS = 2_000
"""A page of fifty with its joins, with room to spare."""
WALK_MOST = 6
"""Statements of one name that are run of an operation that walks."""
STEPS = 30
"""Steps of SQLite's virtual machine that one visit may take."""

MAY_VISIT = {
    # A bounded number of rows by contract.
    "find_ran": 3 * 5_000,
    "find_trace": 3 * 5_000,
    # Half of the ended tasks that it meets have a delivery that is still due.
    "find_expired": 5 * 500,
    "find_outlived": 5 * 500,
    # It counts what it shows.
    "count_open_deliveries": FEW,
    "find_keys": 3 * FEW,
    "find_overdue_hosts": webhook_hosts.OVERDUE_MOST + VISITS,
    "find_overdue_of_organization": webhook_hosts.OVERDUE_MOST + VISITS,
    "count_ahead": waits.AHEAD_MOST + VISITS,
    # One step of a walk: a bounded number of tasks, and the state of each.
    "find_looked": 5 * LOOK_MOST,
    "find_newest_waiting": LOOK_MOST + VISITS,
    # One step of a walk that others interrupt.
    "count_queue_entries": STEP + VISITS,
    "count_waiting": STEP + VISITS,
    "count_states": 6 * STEP,
    "find_task_behind": STEP + VISITS,
    "find_failure_behind": failures.ROWS_MOST,
    "find_audit": 2 * STEP,
    "find_audit_behind": STEP,
}

NOT_HERE = {
    # Rows named one by one, by key: claims, settles, reports of workers, and the chunks of upkeep.
    "find_used_keys", "find_heads", "find_listed", "find_leases", "find_ended", "find_payloads",
    "find_exchanged", "find_yielded", "find_heads_ahead", "find_calls", "find_claimed_calls", "find_waiting_calls",
    "find_ready_calls", "count_ready_calls", "find_turns", "find_live_sessions", "find_session_end",
    "find_session_leases", "find_place",
    "find_again", "find_retried", "find_places", "lock_bulk",
    "lock_deliveries", "find_deliveries_to_record", "find_tries", "find_deliveries_of", "find_last_usage", "find_grant",
    "lock_organizations", "lock_further_organizations", "lock_plan", "lock_type_limits", "count_limited",
    "find_plan_organizations", "find_columns", "find_running_of_sessions", "find_running_of_type", "find_type_limit",
    # What runs now, which the workers' places bound.
    "find_orphans", "find_overdue", "find_unlimited",
    # One row.
    "find_shared_virtual_time", "lock_installation", "has_schema_version", "find_schema_versions", "keep_plan",
    # Every organization, once in a while: for operators, and when the clock jumps.
    "lock_every_organization", "find_flagged", "find_planned_without_slots", "find_living",
    # Erasing goes through all of one organization.
    "find_organization_leases", "find_organization_tasks", "find_organization_deliveries",
    # PostgreSQL's own.
    "find_references", "find_safety", "find_dead_rows", "read_clock",
    "find_identity", "find_oldest_transaction", "find_working", "notify", "lock_schema_version",
    "limit_transaction", "steady_plans",
}  # fmt: skip
"""Statements that read and are no list, filter or report."""

FILTERS = [
    *(TaskFilter(status=status) for status in [None, *TaskStatus]),
    *(TaskFilter(status=status, task_type="NONE") for status in [None, *TaskStatus]),
    *(TaskFilter(status=status, priority=1) for status in [None, *TaskStatus]),
    *(TaskFilter(status=status, accepted_before=1) for status in [None, *TaskStatus]),
    *(TaskFilter(status=status, accepted_from=2**45) for status in [None, *TaskStatus]),
    *(TaskFilter(status=status, key_prefix="k") for status in [None, *TaskStatus]),
    TaskFilter(status=TaskStatus.FAILED, code="NONE"),
    TaskFilter(status=TaskStatus.FAILED, group="none"),
]
"""Filters that leave out all tasks, by each condition."""
DELIVERY_FILTERS = [
    DeliveryFilter(),
    *(DeliveryFilter(status=status, host_prefix="none") for status in DeliveryStatus),
    DeliveryFilter(url_prefix="none"),
    DeliveryFilter(task_id="01900000-0000-7000-8000-100000400001"),
    DeliveryFilter(created_before=1),
    DeliveryFilter(created_from=2**45),
]
"""The same for deliveries."""

NUMBERS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
BULK = "01900000-0000-7000-8000-{number:012}"
"""The id of an organization's running bulk."""
TASK_ID = "'01900000-0000-7000-8000-' || (100000000000 + {first} + i)"


def _task(first: int, count: int, organization_id: int, *, webhook: bool = False) -> str:
    return (
        f"INSERT INTO task (id, organization_id, seq, task_type, priority, payload, cost, created_at)"
        f" {NUMBERS.format(count=count)}"
        f" SELECT {TASK_ID.format(first=first)}, {organization_id}, i, 'PAGE', 5, '{{}}', 0, 1800000000000 FROM n"
    )


def _outcome(
    first: int, count: int, organization_id: int, status: str, *, ended: int = 1_800_000_000_000, expires: str = "NULL"
) -> str:
    return (
        "INSERT INTO outcome"
        " (organization_id, task_id, status, charged, attempt, first_started_at, finished_at, expires_at)"
        f" {NUMBERS.format(count=count)}"
        f" SELECT {organization_id}, {TASK_ID.format(first=first)}, '{status}', 0, 1, {ended}, {ended} + i, {expires}"
        " FROM n"
    )


def _planted(queued: int, completed: int, failed: int, waiting: int) -> Iterator[str]:
    """The rows, as statements that both databases take."""
    yield _task(0, ROWS, queued)
    yield (
        f"INSERT INTO queue_entry {NUMBERS.format(count=ROWS)}"
        f" SELECT {queued}, 'PAGE', 5, i, {TASK_ID.format(first=0)}, 0, NULL, 0, 0, 0 FROM n"
    )
    yield f"INSERT INTO lane VALUES ({queued}, 'PAGE', 5, {ROWS}, 0, 1)"
    yield f"UPDATE organization SET queued = {ROWS}, ready = {ROWS}, next_seq = {ROWS} + 1 WHERE id = {queued}"
    yield _task(ROWS, FEW, completed)
    yield _outcome(ROWS, FEW, completed, "COMPLETED")
    # Tasks that ended before all others and are kept for longer.
    yield _task(7 * ROWS, FEW, completed)
    yield _outcome(7 * ROWS, FEW, completed, "COMPLETED", ended=1_700_000_000_000, expires="1900000000000 + i")
    yield _task(2 * ROWS, FEW, failed)
    yield _outcome(2 * ROWS, FEW, failed, "FAILED")
    yield (
        "INSERT INTO attempt"
        " (organization_id, task_id, place, starts, number, lease_id, started_at, ended_at, ending, slot_wait_ms,"
        " worker_wait_ms)"
        f" {NUMBERS.format(count=FEW)}"
        f" SELECT {failed}, {TASK_ID.format(first=2 * ROWS)}, 1, 1, 1, 'x', 1800000000000, 1800000000000 + i, 'FAILED',"
        " 0, 0 FROM n"
    )
    # Each in an hour of its own, long ago.
    yield (
        "INSERT INTO failure_hour (organization_id, hour, group_id, task_type, code, ending, exception, place, line,"
        f" failures, retried, first_at, last_at, task_id) {NUMBERS.format(count=FEW)}"
        f" SELECT {failed}, i, 'fg_' || i % 50, 'PAGE', 'x', 'FAILED', 'x', 'x', 1, 1, 0, 1, 1,"
        f" {TASK_ID.format(first=2 * ROWS)} FROM n"
    )
    yield _task(3 * ROWS, FEW, waiting)
    yield (
        f"INSERT INTO waiting {NUMBERS.format(count=FEW)}"
        f" SELECT {waiting}, {TASK_ID.format(first=3 * ROWS)}, 'PAGE', 5, i, 0, NULL, 1900000000000 + i, 0, 0, 0 FROM n"
    )
    yield f"INSERT INTO lane VALUES ({waiting}, 'PAGE', 5, 0, {FEW}, 0)"
    yield f"UPDATE organization SET queued = {FEW}, next_seq = {FEW} + 1 WHERE id = {waiting}"
    # Bulks that have ended, and one of each organization that runs.
    yield (
        "INSERT INTO bulk (id, organization_id, kind, state, chosen, matched, done, skipped, began_at, ended_at)"
        f" {NUMBERS.format(count=FEW)}"
        f" SELECT {TASK_ID.format(first=6 * ROWS)}, {completed}, 'retry', 'DONE', '{{}}', 0, 0, '{{}}',"
        " 1800000000000, 1900000000000 + i FROM n"
    )
    for one in (queued, completed, failed, waiting):
        identity = BULK.format(number=one)
        yield (
            "INSERT INTO bulk (id, organization_id, kind, state, chosen, matched, done, skipped, began_at) VALUES"
            f""" ('{identity}', {one}, 'retry', 'RUNNING', '{{"status":"FAILED"}}', 0, 0, '{{}}', 1800000000000)"""
        )
        yield f"INSERT INTO bulk_part (bulk_id, organization_id, before_seq) VALUES ('{identity}', {one}, 1000000)"
    # Deliveries that are over, of tasks and of tests; and some that are due later, of another organization.
    yield (
        "INSERT INTO delivery (id, organization_id, task_id, url, host, tries, due_at, delivered_at, created_at)"
        f" {NUMBERS.format(count=FEW)}"
        f" SELECT {TASK_ID.format(first=4 * ROWS)}, {completed},"
        f" CASE WHEN i % 2 = 0 THEN {TASK_ID.format(first=ROWS)} END, 'u', 'h', 1, NULL, 1, 1800000000000 FROM n"
    )
    yield (
        "INSERT INTO delivery (id, organization_id, task_id, url, host, tries, due_at, created_at)"
        f" {NUMBERS.format(count=FEW)}"
        f" SELECT {TASK_ID.format(first=5 * ROWS)}, {failed}, {TASK_ID.format(first=2 * ROWS)}, 'u', 'h', 1,"
        " 1900000000000 + i, 1800000000000 FROM n"
    )
    # Hosts that deliver, of one organization and of all, and one that fails.
    for one in (0, completed):
        yield (
            f"INSERT INTO webhook_host {NUMBERS.format(count=FEW)}"
            f" SELECT {one}, 'h' || i, 20000, 1, 0, 0, 0, 0, NULL, 1800000000000, 200, NULL, 1 FROM n"
        )
    yield "INSERT INTO webhook_host VALUES (0, 'h', 20000, 1, 1, 0, 0, 1, 1, 1800000000000, 500, 'status', 1)"
    yield f"INSERT INTO webhook_host VALUES ({failed}, 'h', 20000, 1, 1, 0, 0, 1, 1, 1800000000000, 500, 'x', 1)"
    yield (
        f"INSERT INTO audit (id, at, actor, action, subject, details) {NUMBERS.format(count=FEW)}"
        f" SELECT {TASK_ID.format(first=0)}, 1800000000000, 'somebody', 'plan.changed', 'a plan', '{{}}' FROM n"
    )
    yield (
        f"INSERT INTO usage {NUMBERS.format(count=FEW)}"
        f" SELECT {completed}, 30000000 + i, 1800000000000, 0, 0, 0, 0, 0, 0, 0, 0, '[]' FROM n"
    )
    yield (
        f"INSERT INTO type_usage {NUMBERS.format(count=FEW)}"
        f" SELECT {completed}, 30000000 + i, 'PAGE', 's', 0, 0, 0, '[]', '[]' FROM n"
    )
    yield (
        f"INSERT INTO pulse {NUMBERS.format(count=FEW)}"
        f" SELECT 20000000 + i, 's', 1800000000000, 0, 0, 0, 0, 0, 0, 0, 0, 0, '[]' FROM n"
    )
    yield (
        f"INSERT INTO api_key (id, organization_id, name, digest, last4, created_at) {NUMBERS.format(count=FEW)}"
        f" SELECT 'k' || i, {completed}, 'x', 'd' || i, 'abcd', 1800000000000 FROM n"
    )


def _read(store: Store, ids: Sequence[int]) -> Iterator[Callable[[], Operation]]:
    """Every operation that reads, asked by each organization about itself, and by operators."""
    config, memory, now = store.shared.config, store.shared.memory, 1_800_000_000_000
    for one in ids:
        for chosen in FILTERS:
            yield partial(tasks.list_tasks, one, chosen, None, 50)
            yield partial(overview.find_tasks, one, chosen, None, 50)
        for reference in (f"01900000-0000-7000-8000-{100_000_000_000 + n}" for n in (ROWS, 2 * ROWS, 3 * ROWS)):
            yield partial(tasks.find_task, one, reference)
            yield partial(tasks.find_payload, one, reference)
            yield partial(waits.find_wait, one, reference, memory)
            yield partial(attempts.find_attempts, one, reference)
        for since in (now, (FEW - 100) * 3_600_000):
            yield partial(failures.find_failures, one, since, 50)
        yield partial(tasks.status, one)
        yield partial(tasks.counted_status, one)
        yield partial(slots.find_slots, one, "", 50)
        yield partial(recount.verified_status, one)
        yield partial(usage.find_usage, one, now - 86_400_000, None, 3_600_000)
        yield partial(usage.find_record, one, now - 86_400_000, 5_000)
        yield partial(credits.find_credits, one)
        for wanted in DELIVERY_FILTERS:
            yield partial(deliveries.find_deliveries, one, wanted, None, 50, None)
        yield partial(deliveries.find_delivery, one, "nothing")
        yield partial(run, "count_open_tests", organization_id=one)
        yield partial(alerts.find_alerts, one)
        yield partial(alerts.find_alert, one, "nothing")
        yield partial(run, "count_alerts", organization_id=one)
        yield partial(run, "find_oldest_of_organization", organization_id=one)
        yield partial(run, "find_failed_before", organization_id=one, minute=30_000_000)
        yield partial(organizations.find_organization_name, one)
        yield partial(webhook_secrets.signing_secrets, one)
        yield partial(run, "find_ready_before", organization_id=one, before=2**62, most=500)
        yield partial(run, "find_waiting_before", organization_id=one, before=2**62, most=500)
    for changes in (
        {},
        {"subject": "nothing"},
        {"action": "nothing"},
        {"actor": "nobody"},
        {"action": "nothing", "actor": "nobody", "subject": "nothing"},
    ):
        yield partial(trail.find_trail, 50, None, trail.AuditFilter(**changes))
    for chosen in FILTERS:
        if chosen.key_prefix is None:
            yield partial(overview.find_tasks, None, chosen, None, 50)
    yield partial(overview.find_task_facts, "nothing")
    yield partial(run, "find_result", task_id="nothing")
    for since in (now, (FEW - 100) * 3_600_000):
        yield partial(failures.find_failures, None, since, 50)
    yield bulks.find_running
    yield partial(bulks.find_bulks, None, None, 50)
    for one in ids:
        yield partial(bulks.find_bulk, BULK.format(number=one), None)
        yield partial(bulks.find_bulks, one, None, 50)
        yield partial(bulks.look, BULK.format(number=one), 0)
        yield partial(bulks.count_chosen, one, TaskFilter(status=TaskStatus.FAILED, task_type="NONE"))
        yield partial(run, "find_bulk_of_key", organization_id=one, idempotency_key="k")
        yield partial(run, "find_bulks_of_organization", organization_id=one, most=10)
        yield partial(run, "find_bulk_place", bulk_id=BULK.format(number=one), organization_id=one)
    yield partial(webhook_hosts.find_troubled, None, 20)
    yield partial(webhook_hosts.find_named, "h", None, "", 20)
    for one in ids:
        for text in (None, "h"):
            yield partial(webhook_hosts.find_own, one, text, None, "", 20)
    yield partial(run, "find_old_hosts", before=1, most=500)
    yield partial(overview.find_trace, now, now + 1_000, (0, ""), 5_000)
    yield partial(sessions.find_sessions, "", 50)
    yield partial(dashboard.live, ids, True, ["nothing"])
    yield dashboard.find_secret
    yield partial(upkeep.find_upkeep, 0, 0)
    yield partial(fleet.find_fleet, config, memory)
    yield partial(pulses.find_installation, config, memory, "nothing")
    yield partial(rates.find_others, "nothing")
    for one in (*ids, EVERY_ORGANIZATION):
        yield partial(type_usage.find_type_usage, one, now - 3_600_000, None, 60_000)
        yield partial(type_usage.find_type_usage, one, 30_000_000 * 60_000, 30_000_060 * 60_000, 60_000)
    yield partial(lanes.find_lanes_of, ids, memory)
    yield partial(months.find_months, "2027-01", None)
    yield partial(credits.find_without_month, "2027-01")
    yield plans.find_plans
    yield maintenance.find_maintenance
    yield failed_starts.find_failed_starts
    yield recount.least_audited
    yield partial(recount.find_drifted, 100)
    yield recount.count_states
    yield partial(recount.recount, None)
    yield erasing.find_erasing
    yield partial(organizations.find_organizations, "", 50)
    yield partial(organizations.find_organizations, "", 50, "nothing")
    yield partial(organizations.find_organization_id, "nothing")
    yield organizations.find_virtual_time
    yield webhook_secrets.all_secrets
    yield partial(run, "find_webhook_secrets", now=now, organization_id=ids[0], id=None)
    yield partial(keys.find_caller, "nothing")
    yield partial(keys.find_holder, "nothing")
    yield partial(keys.find_installation_keys, None)
    yield partial(run, "find_keys", organization_id=ids[1])
    yield partial(run, "find_key", id="k1")
    yield partial(run, "find_grants", organization_id=ids[0], most=50)
    yield partial(tasks.ended_tasks, [(ids[0], "nothing")])
    yield partial(leases.canceled_leases, ["nothing"])
    yield partial(calls.ended_calls, "nothing", (), 100)
    yield partial(calls.server_calls, "nothing")
    yield partial(run, "find_due_calls", now=now, most=500)
    # Upkeep, which looks all the time.
    yield upkeep.next_due
    yield partial(run, "find_due", now=now, most=500)
    yield partial(run, "find_expired", before=now, most=500)
    yield partial(run, "find_expired", before=now + 10 * ROWS, most=500)
    yield partial(run, "find_outlived", now=now, most=500)
    yield partial(run, "find_outlived", now=2_000_000_000_000, most=500)
    yield partial(deliveries.next_delivery, 0)
    yield partial(run, "find_due_organizations", after=0, most=500)
    yield partial(run, "find_due_deliveries", organizations=[(one, "") for one in ids], now=now, hosts=10, most=10)
    yield partial(run, "find_old_tests", before=now - 1, most=500)
    yield usage.last_sampled
    yield partial(usage.find_due, now, 0)
    yield partial(run, "find_old_usage", before=30_000_000, most=500)
    yield partial(run, "find_old_type_usage", before=30_000_000, most=500)
    yield partial(run, "find_old_type_usage", before=40_000_000, most=500)
    yield partial(run, "find_old_failures", before=0, most=500)
    yield partial(run, "find_old_failures", before=FEW, most=500)
    yield partial(run, "find_fine_usage", after=29_000_000, before=29_001_440, most=500)
    yield partial(alerts.judge, "")


Visits = Callable[[Query], Awaitable[tuple[Any, int]]]
"""Run a statement: its rows, and how many rows it visited."""


async def _run(operation: Operation, visits: Visits, seen: dict[str, int]) -> None:
    """Run an operation, but no further than a few statements of one name: a walk repeats itself."""
    counts: dict[str, int] = {}
    found: Any = None
    with suppress(StopIteration, NotFound, TaskNotFailed):
        while True:
            query = next(operation) if found is None else operation.send(found)
            counts[query.name] = counts.get(query.name, 0) + 1
            if counts[query.name] > WALK_MOST:
                operation.close()
                return
            if query.name == statements.CLOCK:
                found = [1_800_000_000_000]
                continue
            found, visited = await visits(query)
            seen[query.name] = max(visited, seen.get(query.name, 0))


def _sqlite_visits(store: Store) -> Visits:
    adapter = adapter_of(store)
    connection = adapter.reading._reader
    steps = [0]
    connection.trace_v2(
        apsw.SQLITE_TRACE_PROFILE,
        lambda event: steps.__setitem__(0, steps[0] + event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]),
    )

    async def visits(query: Query) -> tuple[Any, int]:
        steps[0] = 0
        return adapter.statements.rows(connection, query), steps[0] // STEPS

    return visits


def _postgres_visits(store: Store, connection: Plain) -> Visits:
    adapter = adapter_of(store)

    async def visits(query: Query) -> tuple[Any, int]:
        visited = await _visits(store, connection, query)
        return await adapter.opening.rows(connection, query), visited

    return visits


async def _visits(store: Store, connection: Plain, query: Query) -> int:
    adapter = adapter_of(store)
    [(statement, arguments)] = adapter.asking.sent(query)
    explained = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement.sql}"
    [(plan,)] = await (await connection.execute(explained.encode(), arguments)).fetchall()
    return round(_visited(json.loads(plan)[0]["Plan"]))


def _visited(plan: dict[str, Any]) -> float:
    """The rows that the scans of this plan looked at, whether they passed a filter or not."""
    rows = 0.0
    if "Scan" in plan["Node Type"] and plan["Node Type"] not in ("Subquery Scan", "CTE Scan", "Function Scan"):
        passed = (
            plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        )
        rows = passed * plan["Actual Loops"]
    return rows + sum(_visited(part) for part in plan.get("Plans", ()))


WITHOUT_AUTOVACUUM = """
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', name);
  END LOOP;
END $$
"""
"""Keeps the tables without statistics until the test makes them, however slow the machine is."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", sorted(DATABASES))
async def test_no_read_visits_what_it_does_not_show(kind: str, tmp_path: Path, clock: Clock) -> None:
    """Lists, filters and reports cost the same however many rows of another kind there are, before the database has
    statistics of its tables, after, and with those of a time when they were empty; and no statement that reads is left
    out here."""
    database = DATABASES[kind](tmp_path, clock)
    store = await database.open()
    ids = [(await an_organization(store)).id for _ in range(4)]
    await database.close()
    if kind == "postgres":
        database.rows(WITHOUT_AUTOVACUUM)
    for statement in _planted(*ids):
        database.rows(statement)
    store = await database.open()
    seen: dict[str, int] = {}
    try:
        if kind == "sqlite":
            for operation in _read(store, ids):
                await _run(operation(), _sqlite_visits(store), seen)
        else:
            adapter = adapter_of(store)
            async with adapter.opening.connected() as connection:
                for known in ("nothing", "all", "an empty database"):
                    # As for a snapshot; but what upkeep reads for a change may lock.
                    await connection.execute(BEGIN_SNAPSHOT.sql.replace("READ ONLY", "READ WRITE"))
                    await adapter.opening.ask(connection, "steady_plans")
                    if known == "an empty database":
                        for table in _filled(ids):
                            await connection.execute(f"DELETE FROM {table}".encode())
                        await connection.execute("ANALYZE")
                        for statement in _planted(*ids):
                            await connection.execute(statement.encode())
                    for operation in _read(store, ids):
                        await _run(operation(), _postgres_visits(store, connection), seen)
                    await _run(run("find_statuses", ids=ids), _postgres_visits(store, connection), seen)
                    await connection.execute("ROLLBACK")
                    await connection.execute("ANALYZE")
    finally:
        await database.close()
        database.forget()

    many = {name: visited for name, visited in seen.items() if visited > MAY_VISIT.get(name, VISITS)}
    assert not many, f"rows visited: {many}"
    reads = {name for name, one in statements.load_statements(kind).items() if _only_reads(one.sql)}
    assert reads - seen.keys() - NOT_HERE == set(), "statements without a case here"
    may_come = {"find_type_limit", "find_listed", "find_tries", "find_again", "find_retried", "find_payloads"}
    assert seen.keys() & NOT_HERE - may_come == set()


ROUNDS = 8
"""Each table without statistics, with old ones, or with new ones, in so many arrangements."""
TIMES, MORE = 4, 2_000
"""With any statistics a statement may visit this many times the rows that it visits with the best, and this many more:
PostgreSQL may read a table that is as small as here once rather than look up some rows of it."""

EVERY_ROW_FOR_EACH = statements.Statement(
    "every_row_for_each",
    "SELECT count(*) FROM (SELECT task_id FROM outcome WHERE organization_id = :one ORDER BY task_id LIMIT 5000) AS o"
    " JOIN task AS t ON t.organization_id = :one AND t.id = o.task_id",
    packed=False,
)
"""The control: a join on the parameter."""


def _named(ids: Sequence[int]) -> Iterator[Query]:
    """Statements on rows that are named one by one, and so cannot be expected to visit more than these."""
    _, completed, _, waiting = ids
    ended = [(completed, f"01900000-0000-7000-8000-{100_000_000_000 + ROWS + n}") for n in range(1, 51)]
    for one in ids:
        for first in (0, ROWS, 2 * ROWS, 3 * ROWS):
            reference = f"01900000-0000-7000-8000-{100_000_000_001 + first}"
            yield Query("find_place", {"organization_id": one, "reference": reference})
    yield Query("find_retried", {"ids": [task_id for _, task_id in ended]})
    for name in (
        "find_listed", "find_looked", "find_task_facts", "find_again", "find_places", "find_going_on", "find_ended",
        "delete_outcomes", "delete_tasks",
    ):  # fmt: skip
        yield Query(name, {"tasks": ended})
    yield Query("take_waiting", {"entries": [(waiting, n) for n in range(1, 51)]})
    yield Query("every_row_for_each", {"one": completed})


@pytest.mark.timeout(300)
async def test_no_statement_depends_on_what_postgres_knows_of_its_tables(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some tables were analyzed before most of their rows came, some after, some never: each statement visits about as
    many rows as with the best statistics."""
    monkeypatch.setattr(sys.modules[__name__], "ROWS", 1_500)
    monkeypatch.setattr(sys.modules[__name__], "FEW", 500)
    database = PostgresServer(tmp_path, clock)
    store = await database.open()
    ids = [(await an_organization(store)).id for _ in range(4)]
    adapter = adapter_of(store)
    database.rows(WITHOUT_AUTOVACUUM)
    asked: dict[str, Query] = {repr((query.name, query.parameters)): query for query in _named(ids)}
    adapter.asking.statements["every_row_for_each"] = numbered(EVERY_ROW_FOR_EACH)
    seen: dict[str, list[int]] = {}
    try:
        async with adapter.opening.connected() as connection:
            visits = _postgres_visits(store, connection)

            async def asks(query: Query) -> tuple[Any, int]:
                asked[repr((query.name, query.parameters))] = query
                return await visits(query)

            for number in range(ROUNDS):
                arrangement = random.Random(number)
                # Statistics that know nothing of an organization are the most misleading ones.
                before, after = _without(ids, ids[number % 4])
                kinds = ["none", "old", "old", "new"] if number >= 4 else ["old"]
                knowledge = {table: arrangement.choice(kinds) for table in _filled(ids)}
                await connection.execute(BEGIN_SNAPSHOT.sql.replace("READ ONLY", "READ WRITE"))
                await adapter.opening.ask(connection, "steady_plans")
                await connection.execute(f"TRUNCATE {', '.join(knowledge)}".encode())
                for planted, known in ((before, "old"), (after, "new")):
                    for statement in [
                        *planted,
                        *(f"ANALYZE {table}" for table in knowledge if knowledge[table] == known),
                    ]:
                        await connection.execute(statement.encode())
                if not number:
                    for operation in _read(store, ids):
                        await _run(operation(), asks, {})
                for key, query in asked.items():
                    await connection.execute("SAVEPOINT before")
                    seen.setdefault(key, []).append(await _visits(store, connection, query))
                    await connection.execute("ROLLBACK TO before")
                await connection.execute("ROLLBACK")
    finally:
        await database.close()
        database.forget()

    many = {key: max(visits) for key, visits in seen.items() if max(visits) > TIMES * min(visits) + MORE}
    control = repr(("every_row_for_each", {"one": ids[1]}))
    assert many.pop(control, None), f"the control is not found: {seen[control]}"
    assert not many, many


OPEN = 6_000
"""Open deliveries of each organization that has many."""


def _open_deliveries(ids: Sequence[int]) -> dict[str, str]:
    """Statements that plant deliveries which are due later, due to one host, due to many hosts, few, and final."""

    def planted(number: int, host: str, due_at: str, count: int = OPEN) -> str:
        return (
            "INSERT INTO delivery (id, organization_id, url, host, tries, due_at, created_at)"
            f" {NUMBERS.format(count=count)}"
            f" SELECT {TASK_ID.format(first=number * ROWS)}, {ids[number % 4]}, 'u', {host}, 1, {due_at}, 1 FROM n"
        )

    due = "1700000000000 + i"
    return {
        "later": planted(0, "'h'", "1900000000000 + i"),
        "due": planted(1, "'h'", due),
        "hosts": planted(2, "'h' || (i % 500)", due),
        "few": planted(3, "'z'", due, count=5),
        "final": planted(4, "'h'", "NULL"),
    }


KNOWN = {
    "nothing": ["later", "due", "hosts", "few"],
    "one organization": ["later", "ANALYZE", "due", "hosts", "few"],
    "rows that are gone": ["later", "due", "hosts", "few", "DELETE", "ANALYZE", "later", "due", "hosts", "few"],
    "final ones": ["final", "ANALYZE", "later", "due", "hosts", "few"],
}
"""What PostgreSQL knows of the deliveries: the rows and statements that came before and after its statistics."""


async def test_due_deliveries_are_found_by_their_index_whatever_postgres_knows(tmp_path: Path, clock: Clock) -> None:
    """A claim visits the deliveries that it may take. The control: a transaction that may sort visits them all."""
    database = PostgresServer(tmp_path, clock)
    store = await database.open()
    ids = [(await an_organization(store)).id for _ in range(4)]
    adapter = adapter_of(store)
    database.rows(WITHOUT_AUTOVACUUM)
    steps = _open_deliveries(ids) | {"DELETE": "DELETE FROM delivery", "ANALYZE": "ANALYZE delivery"}
    organizations = [(one, "") for one in ids]
    asked: list[Query[Any]] = [
        Query(
            "find_due_deliveries", {"organizations": organizations, "now": 1_800_000_000_000, "hosts": 10, "most": 10}
        ),
        Query("find_due_organizations", {"after": 0, "most": 500}),
        Query("find_next_delivery", {"after": 0}),
    ]
    visited: dict[str, list[int]] = {}
    try:
        async with adapter.opening.connected() as connection:
            for known, names in KNOWN.items():
                await connection.execute(BEGIN_SNAPSHOT.sql.replace("READ ONLY", "READ WRITE"))
                await adapter.opening.ask(connection, "steady_plans")
                await connection.execute("TRUNCATE delivery")
                for name in names:
                    await connection.execute(steps[name].encode())
                visited[known] = [await _visits(store, connection, query) for query in asked]
                for setting in ("enable_sort", "enable_incremental_sort"):
                    await connection.execute(f"SET LOCAL {setting} = on".encode())
                visited[f"{known}, sorted"] = [await _visits(store, connection, query) for query in asked]
                await connection.execute("ROLLBACK")
    finally:
        await database.close()
        database.forget()

    assert max(max(visited[known]) for known in KNOWN) < 200, visited
    assert max(max(visited[f"{known}, sorted"]) for known in KNOWN) > OPEN, visited


KEPT_AFTER = 3
"""After this many executions all plans are made."""
CHANGES_VISIT = 1_000
"""Most rows and index entries that the changes of :func:`_change` may visit."""
TELL = ("SELECT pg_stat_force_next_flush()::text", "SELECT 1")
"""Statements after which PostgreSQL has counted what their connection visited before."""


@pytest.mark.timeout(300)
async def test_changes_visit_no_more_when_the_tables_have_grown(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL keeps the plans of changes for a while, and makes them for the size that the tables have then. The
    control is a server that keeps the plans which it made for empty tables."""
    monkeypatch.setattr(sys.modules[__name__], "ROWS", 4_000)
    monkeypatch.setattr(sys.modules[__name__], "FEW", 2_000)
    visited = {}
    for kept_seconds in (0.0, 1e9):
        monkeypatch.setattr(connection, "PLANS_SECONDS", kept_seconds)
        database = PostgresServer(tmp_path, clock)
        store = await database.open()
        try:
            database.rows(WITHOUT_AUTOVACUUM)
            worker = await a_worker(store)
            early, late = [[(await an_organization(store, slots=50)).id for _ in range(4)] for _ in range(2)]
            for table in _filled(late):
                database.rows(f"VACUUM ANALYZE {table}")
            for _ in range(KEPT_AFTER):
                await _change(store, worker, early)
            async with adapter_of(store).opening.connected() as plain:
                for statement in (*_planted(*late), *TELL):
                    await plain.execute(statement.encode())
            before = _visited_so_far(database, store)
            await _change(store, worker, late)
            visited[kept_seconds] = _visited_so_far(database, store) - before
        finally:
            await database.close()
            database.forget()

    assert visited[0.0] < CHANGES_VISIT < ROWS < visited[1e9], visited


async def _change(store: Store, worker: Worker, ids: Sequence[int]) -> None:
    """Submit, claim, end in two ways, and cancel tasks of each of these organizations."""
    for organization_id in ids:
        tasks = [a_task() for _ in range(3)]
        await store.tasks.submit(organization_id, tasks)
        await store.tasks.cancel(organization_id, tasks[2].id)
    leases = await worker.take(2 * len(ids))
    endings = (DONE, Failed(cause="it broke", retry=False))
    await worker.exchange(*[Report(lease.id, endings[number % 2]) for number, lease in enumerate(leases)])


def _visited_so_far(database: PostgresServer, store: Store) -> int:
    """How many rows and index entries the server's changes, and other connections that told, have visited."""
    writing = adapter_of(store).writer.connection
    for number, sql in enumerate(TELL):
        writing.ask(NumberedStatement(f"tell_{number}", sql), [], 5.0)
    [(rows,)] = database.rows("SELECT sum(seq_tup_read)::bigint FROM pg_stat_user_tables")
    [(entries,)] = database.rows("SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes")
    return int(rows) + int(entries)


def _without(ids: Sequence[int], late: int) -> tuple[list[str], list[str]]:
    """The statements that plant the rows of all organizations but one, and those that plant its rows."""
    others = _planted(*(0 if one == late else one for one in ids))
    both = list(zip(_planted(*ids), others, strict=True))
    return [one for one, other in both if one == other], [one for one, other in both if one != other]


def _filled(ids: Sequence[int]) -> list[str]:
    """The tables that get planted rows, but for those of the organizations themselves."""
    return sorted({match[1] for one in _planted(*ids) if (match := re.match(r"INSERT INTO (\w+)", one))})


def _only_reads(sql: str) -> bool:
    return bool(re.match(r"SELECT|WITH", sql)) and not re.search(r"\b(INSERT|UPDATE|DELETE) ", sql)
