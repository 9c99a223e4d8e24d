"""Wiring: starting, refusing to start, ending."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from fairlane.app import prepare_directory
from fairlane.errors import DatabaseError, DatabaseOwned, SetupError
from fairlane.settings import runtime_directory
from tests.api.house import House, eventually
from tests.store.databases import DATABASES, Clock

PROGRAM = """
import sys
from fairlane.app import run
from fairlane.settings import read_settings

settings = read_settings({"database": sys.argv[1], "port": 0, "workers": 0, "drain_seconds": 5})
sys.exit(run(settings, sys.argv[2], on_ready=lambda address: print(address, flush=True)))
"""
APP = """
from fairlane import Fairlane

app = Fairlane()


@app.task("ANY")
def anything(payload: dict) -> dict:
    return payload
"""


def test_a_second_server_on_the_same_file_is_refused(a_file_house: Callable[..., House], tmp_path: Path) -> None:
    """Clearly; and the first one goes on."""
    house = a_file_house()

    with pytest.raises(DatabaseOwned, match="another fairlane server"), House(tmp_path):
        pass

    assert house.admin.get("/admin/v1/server").status_code == 200


@pytest.mark.parametrize("kind", sorted(DATABASES))
@pytest.mark.parametrize("table", ["type_limit", "webhook_secret"])
async def test_a_database_that_fails_at_the_start_is_said_in_one_line(kind: str, table: str, tmp_path: Path) -> None:
    """As a database that cannot be opened, whether the store or the server meets it; nothing stays open."""
    database = DATABASES[kind](tmp_path, Clock())
    await database.open()
    await database.close()
    database.rows(f"ALTER TABLE {table} RENAME TO elsewhere")

    with pytest.raises(DatabaseError, match="the database cannot be used"), House(tmp_path, database=database.address):
        pass

    database.rows(f"ALTER TABLE elsewhere RENAME TO {table}")
    with House(tmp_path, database=database.address):
        pass
    database.forget()


def test_a_port_in_use_leaves_nothing_behind(a_house: Callable[..., House], tmp_path: Path) -> None:
    """The database is free again."""
    other = tmp_path / "other"
    other.mkdir()
    house = a_house()
    port = int(house.server.address.rpartition(":")[2])

    with pytest.raises(SetupError, match="--port"), House(other, port=port):
        pass

    with House(other):
        pass


def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    """And what a local worker of before ran is queued again at once."""
    with House(tmp_path) as house:
        customer = house.customer()
        ids = [customer.accepted(idempotencyKey=f"k{number}") for number in range(3)]
        body = {"name": "w", "types": ["ANY"], "places": 1, "local": True}
        session = house.worker.post("/worker/v1/sessions", json=body).json()["session"]
        house.worker.post("/worker/v1/exchange", json={"session": session, "id": "x", "places": 1})
        assert customer.status()["processingTasks"] == 1

    with House(tmp_path) as house:
        client = house.client(None, authorization=f"Bearer {customer.key['value']}")
        body = client.get("/v1/async/status").json()
        assert (body["queuedTasks"], body["processingTasks"]) == (3, 0)
        assert [client.get(f"/v1/async/task/k{number}").json()["task"]["id"] for number in range(3)] == ids


def test_ending_leaves_no_socket_behind(tmp_path: Path) -> None:
    """Nor the directory they were in."""
    with House(tmp_path) as house:
        folder = house.server.admin_socket.parent
        assert folder == runtime_directory(house.settings.database)

    assert not folder.exists()


def test_stale_sockets_are_replaced(tmp_path: Path, a_file_house: Callable[..., House]) -> None:
    """A server that was killed could not remove them."""
    folder = runtime_directory(f"sqlite:///{tmp_path / 'fairlane.db'}")
    folder.mkdir(mode=0o755)
    (folder / "admin.sock").touch()
    (folder / "worker.sock").touch()

    assert a_file_house().admin.get("/admin/v1/server").status_code == 200
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_runtime_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it could read every task; neither is a link or a file taken for it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(SetupError, match=name):
            prepare_directory(tmp_path / name)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(SetupError, match="another user"):
        prepare_directory(tmp_path / "real")


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(SetupError, match="XDG_RUNTIME_DIR"):
        prepare_directory(tmp_path / ("x" * 100))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 0, and it says where it listens before."""
    (tmp_path / "an_app.py").write_text(APP)
    command = [sys.executable, "-c", PROGRAM, f"sqlite:///{tmp_path / 'x.db'}", f"{tmp_path / 'an_app.py'}:app"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)

    assert line.startswith("http://127.0.0.1:")
    assert (process.returncode, errors) == (0, "")


UPKEEP_BREAKS = """
async def broken(self):
    raise RuntimeError("the upkeep is broken")

import fairlane.app
fairlane.app.Sweeper.run = broken
"""
SUPERVISOR_BREAKS = """
async def broken(self):
    raise RuntimeError("the supervisor is broken")

import fairlane.app
fairlane.app.Supervisor.stop = broken
"""
LISTENER_BREAKS = """
async def broken(self, counter):
    raise RuntimeError("the listener is broken")

import uvicorn
uvicorn.Server.on_tick = broken
"""


@pytest.mark.parametrize(
    ("breaks", "said"),
    [(UPKEEP_BREAKS, "upkeep.ended"), (SUPERVISOR_BREAKS, "supervisor is b"), (LISTENER_BREAKS, "listener.ended")],
)
def test_a_server_whose_parts_break_ends_and_tidies_up(tmp_path: Path, breaks: str, said: str) -> None:
    """Exit code 1 with the cause; the sockets are gone."""
    (tmp_path / "an_app.py").write_text(APP)
    database = f"sqlite:///{tmp_path / 'x.db'}"
    command = [sys.executable, "-c", breaks + PROGRAM, database, f"{tmp_path / 'an_app.py'}:app"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if breaks is SUPERVISOR_BREAKS:
            process.send_signal(signal.SIGTERM)
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()

    assert process.returncode == 1
    assert said in errors
    assert " is broken" in errors
    assert not runtime_directory(database).exists()


def test_a_webhook_on_its_way_arrives_before_the_server_ends(tmp_path: Path) -> None:
    """SIGTERM waits for what is being sent, and it is recorded: the next server does not send it again."""
    (tmp_path / "an_app.py").write_text(APP)
    database = f"sqlite:///{tmp_path / 'x.db'}"
    command = [sys.executable, "-c", PROGRAM, database, f"{tmp_path / 'an_app.py'}:app"]
    environment = os.environ | {"FAIRLANE_WEBHOOK_ALLOW_PRIVATE": "true"}
    with (
        socket.create_server(("127.0.0.1", 0)) as hook,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        made = _a_key(runtime_directory(database) / "admin.sock")
        with httpx2.Client(base_url=address, headers={"authorization": f"Bearer {made}"}) as client:
            url = f"http://127.0.0.1:{hook.getsockname()[1]}/"
            delivery = client.post("/v1/webhooks/test", json={"url": url}).json()["delivery"]
            connection, _ = hook.accept()
            process.send_signal(signal.SIGTERM)
            eventually(lambda: client.get("/readyz").status_code == 503)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert process.wait(20) == 0
        connection.close()

    with House(tmp_path, database=database) as house:
        client = house.client(None, authorization=f"Bearer {made}")
        (found,) = client.get("/v1/webhooks/deliveries").json()["deliveries"]
    assert (found["id"], found["status"]) == (delivery["id"], "delivered")


def _a_key(admin_socket: Path) -> str:
    """The key of a new organization."""
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(admin_socket)), base_url="http://fairlane") as admin:
        admin.post("/admin/v1/organizations", json={"name": "acme"})
        return str(admin.post("/admin/v1/organizations/acme/keys", json={}).json()["value"])
