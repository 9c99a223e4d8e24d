"""Names that a shell completes: of organizations and plans, from a server of this machine that answers at once.

Completion must be quick and change nothing: it opens no database, speaks to no other machine, and is silent when it
finds nothing.
"""

import json
import socket
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote

from fairlane.errors import FairlaneError
from fairlane.settings import database_path, is_postgres, usual_database

PATIENCE_SECONDS = 0.5
NAMES_MOST = 100


def organization_names(ctx: Any, incomplete: str) -> list[str]:
    """Return the organizations with names that begin with these characters."""
    return _names(ctx, f"organizations?limit={NAMES_MOST}&search={quote(incomplete)}", "organizations")


def plan_names(ctx: Any) -> list[str]:
    """Return the plans."""
    return _names(ctx, "plans", "plans")


def _names(ctx: Any, path: str, noun: str) -> list[str]:
    try:
        database = ctx.params.get("database") or usual_database()
        if is_postgres(database) or database.startswith(("http://", "https://")):
            return []
        owner = json.loads(database_path(database).with_name(f"{database_path(database).name}.lock").read_text())
        connection = _Local(owner["admin_socket"])
        try:
            connection.request("GET", f"/admin/v1/{path}")
            return [str(one["name"]) for one in json.loads(connection.getresponse().read())[noun]]
        finally:
            connection.close()
    except (OSError, ValueError, LookupError, TypeError, HTTPException, FairlaneError):
        return []


class _Local(HTTPConnection):
    """A connection to a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("fairlane", timeout=PATIENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect(self._path)
