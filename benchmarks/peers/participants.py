"""What is measured, in the order of the tables: fairlane on both databases, then each peer on its own store."""

from dataclasses import dataclass

SQLITE, POSTGRES, EVERYSEC, ALWAYS = "SQLite", "PostgreSQL", "Redis, everysec", "Redis, always"


@dataclass(frozen=True)
class Participant:
    """One line of the tables."""

    name: str
    """As on the command line."""
    title: str
    adapter: str
    """The module below ``benchmarks.peers`` and the name of its environment."""
    home: str
    limits: str = ""
    """How a limit for each organization is built. Empty: its documentation shows none, so it is not measured."""
    module: str = ""
    """Where the adapter is, if not below ``benchmarks.peers``; then it runs in this program's own environment."""

    ramps: int = 1
    """How many times the usual ramp its workers need to start, with a process for each place of 20 × 5."""

    @property
    def is_fairlane(self) -> bool:
        """Whether it is no peer."""
        return self.adapter == "fairlane"


def participant(name: str) -> Participant:
    """Return the participant with this name."""
    return next(one for one in PARTICIPANTS if one.name == name)


def _on_redis(adapter: str, title: str, limits: str = "", ramps: int = 1) -> tuple[Participant, Participant]:
    """A peer with each of the two fsync policies."""
    return (
        Participant(f"{adapter}-everysec", title, adapter, EVERYSEC, limits, ramps=ramps),
        Participant(f"{adapter}-always", title, adapter, ALWAYS, limits, ramps=ramps),
    )


FAIRLANE_LIMITS = "the organization's slots"

RQ_RAMPS = 8
"""A hundred processes start."""

PARTICIPANTS = (
    Participant("fairlane-sqlite", "fairlane", "fairlane", SQLITE, FAIRLANE_LIMITS),
    Participant("fairlane-postgres", "fairlane", "fairlane", POSTGRES, FAIRLANE_LIMITS),
    Participant("huey", "Huey", "huey", SQLITE),
    Participant("pgqueuer", "PgQueuer", "pgqueuer", POSTGRES, "an entrypoint for each organization"),
    Participant("procrastinate", "Procrastinate", "procrastinate", POSTGRES, "five lock names for each organization"),
    Participant("awa", "awa", "awa", POSTGRES, "a queue for each organization"),
    Participant("dbos", "DBOS", "dbos", POSTGRES, "a partition for each organization"),
    *_on_redis("saq", "SAQ", "a queue and a worker object for each organization"),
    *_on_redis("dramatiq", "Dramatiq", "a rate limiter for each organization, with retries"),
    *_on_redis("celery", "Celery"),
    *_on_redis("taskiq", "TaskIQ"),
    *_on_redis("rq", "RQ", "a rate limit for each organization, a process for each place", RQ_RAMPS),
)
