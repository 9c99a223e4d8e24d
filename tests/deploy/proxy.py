"""nginx with the site of deploy/, in front of servers of the tests."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)")


def free_port() -> int:
    """A port nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Proxy:
    """nginx with our files, but for the lines an operator sets, in a folder of its own."""

    def __init__(
        self, folder: Path, servers: dict[str, str], *, upstream: str = "fairlane-servers.conf", more: str = ""
    ) -> None:
        """``servers``: the address in the file ``upstream``, and that of the test's server; ``more``: locations."""
        self.port = free_port()
        self.authority = trustme.CA()
        certificate = self.authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(str(folder / "private.pem"))
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(str(folder / "fullchain.pem"), append=True)
        site = "".join((CONFIGURATION / name).read_text("utf-8") for name in ("fairlane.conf", upstream))
        for pattern, replacement in (
            (r"(?=    location / \{)", more),
            *((rf"server {re.escape(here)};", f"server {there};") for here, there in servers.items()),
            (r"listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"),
            (r"/etc/ssl/fairlane/", f"{folder}/"),
        ):
            site, count = re.subn(pattern, replacement, site)
            assert count, pattern
        (folder / "site.conf").write_text(site)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
        user = "user root;\n" if os.getuid() == 0 else ""  # its workers write where the test may
        (folder / "nginx.conf").write_text(
            f"{user}pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nworker_processes 1;\ndaemon off;\n"
            "events { worker_connections 256; }\n"
            f"http {{\naccess_log off;\n{temporary}include {folder}/site.conf;\n}}\n"
        )
        self._command = [str(NGINX), "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "start")]
        self._folder = folder

    def __enter__(self) -> "Proxy":
        environment = {**os.environ, "TZ": "UTC"}
        checked = subprocess.run([*self._command, "-t"], capture_output=True, text=True, env=environment, check=False)
        assert checked.returncode == 0, checked.stderr
        self._process = subprocess.Popen(self._command, env=environment, stderr=subprocess.DEVNULL)
        give_up_at = time.monotonic() + 10
        while not self._listens():
            assert time.monotonic() < give_up_at, (self._folder / "error.log").read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def answer(self, request: bytes, *, plain: bool = False) -> tuple[int, str, dict[str, Any]]:
        """Status, content type and JSON of what is answered to these bytes."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        bare = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        with bare if plain else context.wrap_socket(bare, server_hostname="127.0.0.1") as connection:
            connection.sendall(request)
            response = HTTPResponse(connection)
            response.begin()
            return response.status, response.headers["content-type"], json.loads(response.read())

    def client(self, key: str) -> httpx2.Client:
        """A customer of the public address."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        headers = {"authorization": f"Bearer {key}"}
        return httpx2.Client(base_url=f"https://127.0.0.1:{self.port}", verify=context, timeout=20, headers=headers)
