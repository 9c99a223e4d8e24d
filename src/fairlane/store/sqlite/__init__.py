"""SQLite beneath the store: the file and its lock, opening and migrating, reading, writing, backups.

The only room that imports apsw.
"""

from fairlane.store.sqlite.backups import restore_file
from fairlane.store.sqlite.database import SqliteDatabase
from fairlane.store.sqlite.disk import lock_path

__all__ = ["SqliteDatabase", "lock_path", "restore_file"]
