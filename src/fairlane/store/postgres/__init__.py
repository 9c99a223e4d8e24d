"""PostgreSQL beneath the store: connecting and checking, reading, writing, outages, filling, wake-ups.

The only room that imports psycopg.
"""

from fairlane.store.postgres.database import PostgresDatabase
from fairlane.store.postgres.wakeups import WakeUps

__all__ = ["PostgresDatabase", "WakeUps"]
