"""What is known of each peer besides its figures, and where that stands. Nothing here was measured."""

from dataclasses import dataclass

from benchmarks.peers.participants import ALWAYS, EVERYSEC, POSTGRES, SQLITE

READ_ON = "2026-11-30"
"""The day on which the sources below were read: documentation, or the source of the version in the requirement file."""


@dataclass(frozen=True)
class Claim:
    """One sentence about a peer, and the address that shows it."""

    text: str
    source: str


DURABILITY = {
    SQLITE: "it is synced to disk: `synchronous = FULL` (Huey: `fsync=True`)",
    POSTGRES: "it is synced to disk: `fsync` and `synchronous_commit` are on",
    EVERYSEC: "it is in Redis's append-only file, which is synced once a second: a power cut may lose the last second",
    ALWAYS: "it is synced to disk: Redis syncs its append-only file before it answers",
}

HUEY = "https://github.com/coleifer/huey/blob/master/huey"
PGQUEUER = "https://github.com/janbjorge/pgqueuer/blob/main/pgqueuer"
PROCRASTINATE = "https://github.com/procrastinate-org/procrastinate/blob/main/procrastinate"
AWA = "https://github.com/hardbyte/awa"
DBOS = "https://docs.dbos.dev/python"
DBOS_SOURCE = "https://github.com/dbos-inc/dbos-transact-py/blob/main/dbos"
SAQ = "https://github.com/tobymao/saq/blob/master/saq"
DRAMATIQ = "https://github.com/Bogdanp/dramatiq/blob/master/dramatiq"
CELERY = "https://docs.celeryq.dev/en/stable"
CELERY_SOURCE = "https://github.com/celery/celery/blob/main/celery"
TASKIQ = "https://github.com/taskiq-python/taskiq-redis"
RQ = "https://github.com/rq/rq/blob/master"

KNOWN: dict[str, tuple[Claim, ...]] = {
    "fairlane": (
        Claim(
            "A submit is an HTTP request. It cannot be part of a transaction in the application's own database; "
            "with PgQueuer, awa and DBOS it can.",
            "api/tasks.md",
        ),
        Claim("Runs tasks alone: no steps, signals or repeating schedules.", "guarantees.md"),
        Claim(
            "One organization has the throughput of one row; a lock on this row keeps its limits exact.",
            "operators/scaling.md",
        ),
    ),
    "huey": (
        Claim(
            "A task leaves the table before it runs: a killed worker loses the tasks that it ran.", f"{HUEY}/storage.py"
        ),
        Claim(
            "Its lock admits one task by name, and a task that finds it taken fails or is retried.", f"{HUEY}/api.py"
        ),
        Claim("It has no call that stores several tasks.", f"{HUEY}/api.py"),
        Claim("The length of the queue is counted from its rows.", f"{HUEY}/storage.py"),
    ),
    "pgqueuer": (
        Claim(
            "Outcomes are gathered and written in batches; the task of a worker that died runs again after 30 seconds.",
            f"{PGQUEUER}/core/qm.py",
        ),
        Claim(
            "A limit belongs to an entrypoint, which the worker's code registers before it runs.",
            f"{PGQUEUER}/core/qm.py",
        ),
        Claim(
            "The length of a queue is counted from its rows.",
            f"{PGQUEUER}/adapters/persistence/qb.py",
        ),
    ),
    "procrastinate": (
        Claim(
            "Tasks of a worker that died wait until the application itself looks for stalled tasks and retries them.",
            f"{PROCRASTINATE}/manager.py",
        ),
        Claim("A lock admits one task at a time; there is no lock for several.", f"{PROCRASTINATE}/sql/schema.sql"),
        Claim("The numbers of tasks by status are counted from their rows.", f"{PROCRASTINATE}/sql/queries.sql"),
    ),
    "awa": (Claim("Limits belong to queues, which a worker names when it starts.", f"{AWA}#readme"),),
    "dbos": (
        Claim("A worker looks for work at an interval, by default of one second.", f"{DBOS}/reference/queues"),
        Claim("A partition's limit is checked by counting its workflows that run.", f"{DBOS_SOURCE}/_sys_db.py"),
    ),
    "saq": (
        Claim("Places belong to a worker object, which serves one queue.", f"{SAQ}/worker.py"),
        Claim("Its call for several tasks waits for their results, so none is measured.", f"{SAQ}/queue/base.py"),
    ),
    "dramatiq": (
        Claim(
            "A task that exceeds a limiter raises and goes back to the queue with a delay.",
            f"{DRAMATIQ}/rate_limits/rate_limiter.py",
        ),
        Claim("It has no call that stores several tasks.", f"{DRAMATIQ}/brokers/redis.py"),
    ),
    "celery": (
        Claim(
            "Its rate limit counts starts in a time, for each worker; there is no limit of tasks at once by a key.",
            f"{CELERY}/userguide/tasks.html",
        ),
        Claim(
            "A task is acknowledged just before it runs: without `acks_late`, a killed worker loses it.",
            f"{CELERY}/glossary.html",
        ),
        Claim("It has no call that stores several tasks: a group sends them one by one.", f"{CELERY_SOURCE}/canvas.py"),
    ),
    "taskiq": (
        Claim(
            "Places belong to a worker process; there is no limit by a key.",
            "https://github.com/taskiq-python/taskiq/blob/master/taskiq/cli/worker/args.py",
        ),
        Claim(
            "A task that a dead worker had taken is given to another one after ten minutes, by default.",
            f"{TASKIQ}/blob/main/taskiq_redis/redis_broker.py",
        ),
        Claim("Its brokers of lists and of PubSub do not acknowledge; that of streams does.", f"{TASKIQ}#brokers"),
    ),
    "rq": (
        Claim("The call that stores several tasks takes no rate limit.", f"{RQ}/rq/queue.py"),
        Claim(
            "A worker runs one task at a time; the default worker forks a process for each, and is slower.",
            f"{RQ}/docs/benchmark.md",
        ),
    ),
}
"""By adapter."""
