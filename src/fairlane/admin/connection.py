"""The one path from the command line to the admin API.

If a server runs on the database, its admin socket is found through the lock file and called over HTTP. If no server
runs, the store is opened in this process (which takes the lock) and the same admin application is called without a
socket. On PostgreSQL this is also the way next to running servers.

A remote server is called at its address, with an admin key.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from fairlane.connecting import reason_of
from fairlane.errors import CommandFailed, DatabaseOwned
from fairlane.settings import database_path, is_postgres, runtime_directories, runtime_directory

ANSWER_SECONDS = 30.0
OWNER_WAIT_SECONDS = 5.0
"""How long to wait for a server that owns the database but does not listen yet, or another command to finish."""
LOOK_SECONDS = 3.0
"""How long a server may take to answer with its facts."""
OWNER_POLL_SECONDS = 0.05
NO_ANSWER = "the server gave no usable answer: it is unknown whether the change was made; check, then try again"


class Admin:
    """The admin API of one database."""

    def __init__(self, client: httpx2.AsyncClient, *, alone: bool = False) -> None:
        self._client = client
        self.alone = alone
        """Whether this process owns the database, so that no server runs on it meanwhile."""

    async def ask(self, method: str, *path: str, body: object = None, query: dict[str, str] | None = None) -> Any:
        """Send one request; return the decoded answer, or the text of CSV. ``path`` has the segments below
        ``/admin/v1``.

        Raises:
            CommandFailed: the answer is an error envelope, or there is no usable answer.
        """
        address = "/admin/v1/" + "/".join(quote(segment, safe="") for segment in path)
        content = None if body is None else json.dumps(body).encode()
        try:
            response = await self._client.request(method, address, content=content, params=query)
            is_csv = response.headers.get("content-type", "").startswith("text/csv")
            answer = response.text if is_csv else response.json()
        except httpx2.TransportError as error:
            raise CommandFailed(_unanswered(self._client.base_url, error)) from error
        except ValueError as error:
            raise CommandFailed(NO_ANSWER) from error
        if response.is_success:
            return answer
        raise _refused(answer, response.status_code)


def ask(database: str, method: str, *path: str, body: object = None, query: dict[str, str] | None = None) -> Any:
    """Send one request to the admin API of a database, from synchronous code."""

    async def once() -> Any:
        async with connect(database) as admin:
            return await admin.ask(method, *path, body=body, query=query)

    return asyncio.run(once())


def ask_all(database: str, noun: str, *path: str, query: dict[str, str] | None = None) -> list[Any]:
    """Return every page of a list of the admin API, from synchronous code."""

    async def all_pages() -> list[Any]:
        found: list[Any] = []
        asked = dict(query or {})
        async with connect(database) as admin:
            while True:
                answer = await admin.ask("GET", *path, query=asked)
                found += answer[noun]
                if "cursor" not in answer:
                    return found
                asked["cursor"] = answer["cursor"]

    return asyncio.run(all_pages())


def erase_all(database: str, organization: str, progress: Callable[[int], None]) -> int:
    """Erase an organization to the end; return the number of its rows. ``progress`` is called after each part."""

    async def all_parts() -> int:
        total = 0
        began = False
        async with connect(database) as admin:
            while True:
                try:
                    answer = await admin.ask("DELETE", "organizations", organization)
                except CommandFailed as failure:
                    if began and failure.status == 404:
                        return total  # the server's own upkeep did the rest
                    raise
                began = True
                total += int(answer["rows"])
                if answer["done"]:
                    return total
                progress(total)

    return asyncio.run(all_parts())


@asynccontextmanager
async def connect(database: str) -> AsyncIterator[Admin]:
    """Connect to the admin API of a database, with or without a running server, or to the server at this address.

    Raises:
        CommandFailed: the server is remote, and there is no admin key for it.
        DatabaseOwned: another process holds the lock and does not answer on the socket.
        DatabaseError: the database cannot be opened.
    """
    if database.startswith(("http://", "https://")):
        async with _remote_client(database) as remote:
            yield Admin(remote)
        return
    give_up_at = time.monotonic() + OWNER_WAIT_SECONDS
    while True:
        client = await _reach(database)
        if client is not None:
            async with aclosing(client):
                yield Admin(client)
            return
        # Imported only when needed: with a running server, the modules of store and API are not used.
        from fairlane.admin.alone import open_alone

        try:
            store, application = await open_alone(database)
        except DatabaseOwned:
            if time.monotonic() > give_up_at:
                raise
            await asyncio.sleep(OWNER_POLL_SECONDS)
            continue
        try:
            async with _client(httpx2.ASGITransport(application)) as client:
                yield Admin(client, alone=store.exclusive)
        finally:
            await store.close()
        return


async def find_server(database: str) -> tuple[int | None, Any]:
    """Return the live process that the lock file of a SQLite database names, and its facts.

    The facts are None if it does not answer within a few seconds, or if there is no such process.
    """
    owner = None if is_postgres(database) else _owner(database_path(database))
    if owner is None or not _lives(owner.get("pid")):
        return None, None
    facts = None
    client = _client(httpx2.AsyncHTTPTransport(uds=owner["admin_socket"]))
    async with aclosing(client):
        try:
            facts = (await client.get("/admin/v1/server", timeout=LOOK_SECONDS)).json()
        except (httpx2.TransportError, ValueError):
            facts = None
    return owner["pid"], facts


def ask_server(database: str, method: str, *path: str) -> Any:
    """Send one request to a server of this machine that runs on a database, from synchronous code.

    Raises:
        CommandFailed: none runs, or as in :meth:`Admin.ask`.
    """

    async def once() -> Any:
        client = await (_neighbor(database) if is_postgres(database) else _reach(database))
        if client is None:
            raise CommandFailed("no server of yours runs on this database here: start one with `fairlane serve`")
        async with aclosing(client):
            return await Admin(client).ask(method, *path)

    return asyncio.run(once())


async def find_elsewhere(address: str) -> tuple[bool | None, str, str | None]:
    """Return whether a server at this address is ready, why not, and its version if it accepts a given admin key.

    The first is None if no fairlane server answers there.
    """
    try:
        async with httpx2.AsyncClient(base_url=address.rstrip("/"), timeout=LOOK_SECONDS) as client:
            answer = (await client.get("/readyz")).json()
        if not isinstance(answer, dict) or not answer.keys() & {"status", "error"}:
            return None, "", None
        ready = answer.get("status") == "ready"
        reason = "" if ready else str(answer.get("error", {}).get("message", ""))
        if not os.environ.keys() & {"FAIRLANE_ADMIN_KEY", "FAIRLANE_ADMIN_KEY_FILE"}:
            return ready, reason, None
        async with _remote_client(address) as operator:
            told = await operator.get("/admin/v1/server", timeout=LOOK_SECONDS)
            return ready, reason, told.json()["version"] if told.is_success else None
    except (httpx2.TransportError, httpx2.InvalidURL, ValueError, AttributeError):
        return None, "", None


def _lives(process: object) -> bool:
    try:
        os.kill(process, 0) if isinstance(process, int) else None
    except PermissionError:
        return True
    except OSError:
        return False
    return isinstance(process, int)


def _client(transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=transport, base_url="http://fairlane", timeout=ANSWER_SECONDS)


def _remote_client(address: str) -> httpx2.AsyncClient:
    key = os.environ.get("FAIRLANE_ADMIN_KEY")
    file = os.environ.get("FAIRLANE_ADMIN_KEY_FILE")
    if key is None and file is not None:
        try:
            key = Path(file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandFailed(f"the admin key cannot be read from {file}: {error}") from error
    key = (key or "").strip()
    if not (key and key.isascii() and key.isprintable()):
        raise CommandFailed(
            "an admin key is needed: set FAIRLANE_ADMIN_KEY or FAIRLANE_ADMIN_KEY_FILE; make one on the server's "
            "machine with `fairlane keys create --admin NAME`"
        )
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(base_url=address.rstrip("/"), headers=headers, timeout=ANSWER_SECONDS)


async def _reach(database: str) -> httpx2.AsyncClient | None:
    """Return a client of the running server, or None if none runs."""
    # A PostgreSQL database has no owner: a command opens it like a further server.
    socket = None if is_postgres(database) else _admin_socket(database_path(database))
    if socket is None:
        return None
    client = _client(httpx2.AsyncHTTPTransport(uds=socket))
    try:
        await client.get("/admin/v1/server")
    except httpx2.TransportError:
        # No process listens: the lock file outlived its server, or the server is just starting or ending.
        await client.aclose()
        return None
    return client


async def _neighbor(database: str) -> httpx2.AsyncClient | None:
    """Return a client of a server of this machine and this user on a PostgreSQL database, or None if there is none."""
    for folder in runtime_directories():
        client = _client(httpx2.AsyncHTTPTransport(uds=str(folder / "admin.sock")))
        try:
            process = (await client.get("/admin/v1/server", timeout=LOOK_SECONDS)).json()["pid"]
            # The name is made of the whole address. What a server shows of its address may be that of another, too.
            if folder == runtime_directory(database, process):
                return client
        except (httpx2.TransportError, ValueError, KeyError):
            pass  # it ended, or it is not one of ours
        await client.aclose()
    return None


def _admin_socket(database: Path) -> str | None:
    """Return the socket that the lock file names, or None if it names none."""
    owner = _owner(database)
    return None if owner is None else owner["admin_socket"]


def _owner(database: Path) -> dict[str, Any] | None:
    """Return the lock file's facts about the server that owns the database, or None if it names no socket."""
    try:
        owner = json.loads(Path(f"{database}.lock").read_text())
    except (OSError, ValueError):
        return None
    socket = owner.get("admin_socket") if isinstance(owner, dict) else None
    return owner if isinstance(socket, str) and socket else None


def _unanswered(address: httpx2.URL, error: httpx2.TransportError) -> str:
    """Return what to say when nothing came back, and what is known about the change."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        told = f"no server answers at {address}: {reason_of(error)}"
        return f"{told}; start it, or correct the address (--server or FAIRLANE_SERVER)"
    return f"{NO_ANSWER} ({address}: {reason_of(error)})"


def _refused(answer: object, status: int) -> CommandFailed:
    """Return the error envelope as an exception that the command line prints."""
    match answer:
        case {"error": {"message": str(message), **rest}}:
            return CommandFailed(message, details=rest.get("details"), status=status)
        case _:
            return CommandFailed(NO_ANSWER)
