"""Names that a shell completes: of organizations and plans, from a server of this machine that answers at once.

Completion must be quick and change nothing: it opens no database, speaks to no other machine, and is silent when it
finds nothing.
"""

import json
import os
import socket
from http.client import HTTPConnection, HTTPException
from typing import Any

from fairlane.settings import database_in_force, database_path, is_postgres

PATIENCE_SECONDS = 0.5


def organization_names(ctx: Any, incomplete: str) -> list[str]:
    """Return the organizations whose names begin with what was typed."""
    return _names(ctx, "organizations", incomplete)


def plan_names(ctx: Any, incomplete: str) -> list[str]:
    """Return the plans whose names begin with what was typed."""
    return _names(ctx, "plans", incomplete)
