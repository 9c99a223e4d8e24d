"""The admin API in this process, for when no server runs. Holds the lock while it is open."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import fairlane
from fairlane.api.admin import SecretRules, ServerFacts, admin_surface
from fairlane.settings import read_settings, without_password
from fairlane.store import Store
from fairlane.webhooks.signing import is_secret, new_secret

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application: scope, receive, send."""


async def open_alone(database: str) -> tuple[Store, Application]:
    """Open the store; return it, to be closed by the caller, and its admin application.

    Raises:
        DatabaseOwned: a server, or another command, holds the lock.
        DatabaseError: there is no database, or it cannot be opened.
    """
    store = await Store.open(read_settings({"database": database}), {}, migrates=False)
    facts = ServerFacts(
        version=fairlane.__version__, address=None, database=without_password(database), pid=os.getpid()
    )
    return store, admin_surface(store, facts=lambda: facts, secret_rules=SecretRules(new_secret, is_secret))
