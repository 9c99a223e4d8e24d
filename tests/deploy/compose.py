"""What compose.yaml starts, as processes of this machine: its services, their variables, the steps of the page."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests import postgres
from tests.api.house import eventually
from tests.cli.harness import ROOT
from tests.deploy.proxy import free_port
from tests.deploy.test_material import DEPLOY

TEXT = (DEPLOY / "compose.yaml").read_text("utf-8")
SERVERS = ("server-1", "server-2")
PAGE = (ROOT / "docs" / "operators" / "deployment.md").read_text("utf-8")
SECTION = PAGE.partition("\n## Containers\n")[2].partition("\n## ")[0]
STEPS = re.findall(r"^```sh\ncd deploy\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)[0].splitlines()
SECRETS = {"POSTGRES_PASSWORD": "0123abcd", "WORKER_KEY": "wk_live_" + "0" * 32}


def services(secrets: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The services, with what .env says."""
    text = re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: secrets[found[1]], TEXT)
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


def image_environment() -> dict[str, str]:
    """What the image sets, for the programs that are ours."""
    return dict(re.findall(r"(FAIRLANE_\w+)=(\S+)", (DEPLOY / "Containerfile").read_text("utf-8")))


def image_command() -> list[str]:
    """What a server's container runs."""
    found = re.findall(r"^CMD (.*)$", (DEPLOY / "Containerfile").read_text("utf-8"), re.MULTILINE)
    command: list[str] = yaml.safe_load(found[-1])
    return command


class Processes:
    """The services without containers: names and ports become ports of this machine."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.database = postgres.lend(bare=True)
        stack.callback(postgres.give_back, self.database)
        self.ports = {f"{name}:{port}": free_port() for name in SERVERS for port in (8000, 8001)}
        self.said: list[str] = []

    def environment(self, name: str) -> dict[str, str]:
        """A service's, at the end of the steps so far."""
        secrets = dict(line.split("=", 1) for line in (self.folder / ".env").read_text().splitlines())
        given = image_environment() | services(secrets)[name].get("environment", {})
        if name in SERVERS:
            given |= {"FAIRLANE_DATABASE": self.database, "FAIRLANE_HOST": "127.0.0.1"}
            given |= {"FAIRLANE_ADMIN_HOST": "127.0.0.1", "FAIRLANE_PORT": str(self.ports[f"{name}:8000"])}
            given |= {"FAIRLANE_ADMIN_PORT": str(self.ports[f"{name}:8001"])}
        for inside, port in self.ports.items():
            given = {key: value.replace(f"http://{inside}", f"http://127.0.0.1:{port}") for key, value in given.items()}
        runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
        self.stack.callback(shutil.rmtree, runtime, ignore_errors=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FAIRLANE_")}
        return kept | given | {"XDG_RUNTIME_DIR": runtime}

    def program(self, name: str) -> list[str]:
        """Return the words before a command of fairlane that a service runs."""
        return [sys.executable, "-m", "fairlane"]

    def follow(self, step: str) -> None:
        """One step, by the shell; what stays is started by name."""
        if up := re.fullmatch(r"docker compose up --wait (.*)", step):
            for name in up[1].split():
                self.start(name)
        elif step != "docker compose build":
            asked = r"docker compose (?:run --rm|exec)(?: -T)? server-1 fairlane"
            ours = re.search(asked, step) is not None
            environment = self.environment("server-1") if ours else None
            here = re.sub(asked, lambda _: shlex.join(self.program("server-1")), step)
            ran = subprocess.run(
                ["bash", "-c", f"set -eu -o pipefail\n{here}"],
                cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert ran.returncode == 0, (step, ran.stderr)
            self.said.append(ran.stdout)

    def start(self, name: str) -> None:
        """A service of ours, until the test's end; servers are waited for."""
        if name in ("postgres", "nginx"):
            return
        command = services(SECRETS)[name].get("command", image_command())
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*self.program(name), *command[1:]], cwd=ROOT, env=self.environment(name), stdout=log, stderr=log
            )
        self.stack.callback(process.wait, 30)
        self.stack.callback(self.end, process)
        if name in SERVERS:
            eventually(partial(self._is_ready, name), seconds=30)

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Ask a service to end."""
        process.terminate()

    def _is_ready(self, name: str) -> bool:
        return "ready at" in (self.folder / f"{name}.log").read_text()
