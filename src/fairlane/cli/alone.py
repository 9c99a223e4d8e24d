"""The admin API in this process, for when no server runs. Holds the lock while it is open."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import fairlane
from fairlane.api.admin import SecretRules, ServerFacts, admin_surface
from fairlane.cli.output import note
from fairlane.settings import database_path, is_postgres, read_settings
from fairlane.store import Store
from fairlane.webhooks.signing import is_secret, new_secret

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application: scope, receive, send."""


async def open_alone(database: str) -> tuple[Store, Application]:
    """Open the store; returns it, to be closed, and its admin application.

    Raises:
        DatabaseOwned: a server, or another command, holds the lock.
        DatabaseError: the database cannot be opened.
    """
    new_file = None if is_postgres(database) or database_path(database).exists() else database_path(database)
    store = await Store.open(read_settings({"database": database}), {}, migrates=False)
    if new_file is not None:
        note(f"created the database {new_file}")
    facts = ServerFacts(version=fairlane.__version__, address=None, database=database, pid=os.getpid())
    return store, admin_surface(store, facts=lambda: facts, secret_rules=SecretRules(new_secret, is_secret))
