"""pgbouncer in transaction mode, in front of a database of the tests."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

BOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class Pooler:
    """pgbouncer with two connections for all its clients, on a port that stays the same."""

    def __init__(self, database: str, folder: Path) -> None:
        target = urlsplit(database)
        name, host = target.path.lstrip("/"), parse_qs(target.query).get("host", [target.hostname])[0]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.address = f"postgresql://{target.username}@127.0.0.1:{self._port}/{name}"
        self._configuration = folder / "pgbouncer.ini"
        self._log = folder / "log"
        self._configuration.write_text(
            f"[databases]\n{name} = host={host} port={target.port or 5432} user={target.username}"
            f"{f' password={target.password}' if target.password else ''}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\nignore_startup_parameters = jit\n"
        )

    def start(self) -> None:
        """Start it, and wait until it listens."""
        # As root it would not start: it reads its file from a descriptor that is open already.
        uid = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
        with self._log.open("ab") as log, self._configuration.open("rb") as file:
            self._process = subprocess.Popen([str(BOUNCER), "/dev/fd/0"], stdin=file, stdout=log, stderr=log, user=uid)
        give_up_at = time.monotonic() + 10
        while not self._listens():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < give_up_at

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        """End it in order."""
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0
