"""``/admin/v1/backup``: a copy of the database while it is in use. Admin socket only, because it writes a file."""

import asyncio
import logging
from pathlib import Path
from typing import ClassVar

from msgspec import Struct
from msgspec.json import Decoder

from fairlane.api.admin.shapes import BODY_BYTES_MOST, answer
from fairlane.api.http import Answer, Request
from fairlane.api.messages import read_message
from fairlane.api.routes import Route, Routes
from fairlane.errors import DatabaseError, InUse, NotFound, StoreFault, ValidationRefused
from fairlane.store import Store

logger = logging.getLogger(__name__)


class NewBackup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to write it: an absolute path on the server's machine at which no file exists yet."""

    path: str


class BackupState(Struct, kw_only=True):
    """The progress of the last backup."""

    path: str
    pages: int = 0
    pages_total: int = 0
    done: bool = False
    error: str | None = None
    """Why it failed, or None if it is running or done."""


_new_backup = Decoder(NewBackup)


class BackupEndpoints:
    """The operator's endpoints. One backup runs at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._state: BackupState | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, request: Request, actor: str) -> Answer:
        """Begin a backup; its progress must be requested separately."""
        new = read_message(_new_backup, await request.body(BODY_BYTES_MOST))
        path = Path(new.path)
        if not path.is_absolute() or "\0" in new.path:
            raise ValidationRefused.at("path", "must be an absolute path")
        if self._task is not None and not self._task.done():
            raise InUse("backup", self._state.path if self._state is not None else "")
        state = self._state = BackupState(path=str(path))
        self._task = asyncio.create_task(self._make(state, path, actor), name="backup")
        return answer(state)

    async def read(self, request: Request, actor: str) -> Answer:
        """Return the progress of the last backup."""
        if self._state is None:
            raise NotFound.route(request.path)
        return answer(self._state)

    async def _make(self, state: BackupState, path: Path, actor: str) -> None:
        def progress(pages: int, total: int) -> None:
            state.pages, state.pages_total = pages, total

        try:
            await self._store.backups.make(path, actor=actor, progress=progress)
        except (DatabaseError, StoreFault, ValidationRefused) as error:
            state.error = str(error)
            logger.error("backup.failed", extra={"path": str(path), "cause": str(error)})
        else:
            state.done = True

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/backup", read),
        Route("POST", "/admin/v1/backup", start),
    )
