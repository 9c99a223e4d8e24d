"""compose.yaml and the steps that start it. There is no container engine here: what it starts, processes stand for."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from fairlane.settings import read_settings
from tests import postgres
from tests.api.house import eventually
from tests.cli.harness import ROOT
from tests.deploy.proxy import Proxy, free_port, needs_nginx
from tests.deploy.test_material import DEPLOY, VARIABLES, check_command

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


def test_every_name_in_it_leads_somewhere() -> None:
    """Images, dependencies, volumes, mounted files, variables: declared, there, or made by the steps."""
    document = yaml.safe_load(TEXT)

    assert set(document["services"]) == {"postgres", *SERVERS, "worker", "nginx"}
    for name, service in document["services"].items():
        assert "image" in service or (ROOT / service["build"]["dockerfile"]).is_file(), name
        assert "secrets" not in service, "a file that uid 10001 may read, others may read, too; libpq refuses it"
        for dependency, wanted in service.get("depends_on", {}).items():
            assert wanted == {"condition": "service_healthy"}
            assert "healthcheck" in document["services"][dependency] or dependency in SERVERS
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            made = source == "./certificates" and "`deploy/certificates/`" in SECTION
            assert source in document["volumes"] or (DEPLOY / source).is_file() or made, source
    assert set(re.findall(r"FAIRLANE_[A-Z_]+", TEXT)) <= VARIABLES
    assert (
        set(re.findall(r"\$\{(\w+)", TEXT)) == set(SECRETS) == set(re.findall(r"([A-Z_]+)=(?:wk_live_)?%s", STEPS[0]))
    )


def test_each_service_gets_settings_that_fit_the_others() -> None:
    """Database, ports and addresses are the same at both ends; servers alone are asked for their health."""
    found = services(SECRETS)
    database, worker = found["postgres"]["environment"], found["worker"]
    for name in SERVERS:
        settings = read_settings({}, image_environment() | found[name]["environment"])
        address = urlsplit(settings.database)
        assert (address.username, address.password) == (database["POSTGRES_USER"], database["POSTGRES_PASSWORD"])
        assert (address.hostname, address.path) == ("postgres", f"/{database['POSTGRES_DB']}")
        assert (settings.host, settings.port, settings.admin_host) == ("0.0.0.0", 8000, "0.0.0.0")
        assert f"http://{name}:{settings.admin_port}" in worker["environment"]["FAIRLANE_WORKER_SERVERS"].split(",")
        assert "healthcheck" not in found[name]

    check_command(image_command())
    check_command([*worker["command"], "--server", worker["environment"]["FAIRLANE_WORKER_SERVERS"]])
    assert worker["healthcheck"] == {"disable": True}
    read_settings({}, image_environment() | worker["environment"])


def test_nginx_finds_its_files_and_the_servers() -> None:
    """The site names certificates that are mounted, the other file each server at its port."""
    mounted = dict(volume.split(":")[:2] for volume in services(SECRETS)["nginx"]["volumes"])
    site, servers = (source for source in mounted if source.endswith(".conf"))

    assert all(re.fullmatch(r"/etc/nginx/conf\.d/\w+\.conf", mounted[source]) for source in (site, servers))
    assert "/etc/nginx/conf.d/default.conf" in mounted.values()
    named = re.findall(r"ssl_certificate(?:_key)? +(\S+);", (DEPLOY / site).read_text("utf-8"))
    assert [Path(path).parent for path in named] == [Path(mounted["./certificates"])] * 2
    assert all(Path(path).name in SECTION for path in named)
    assert re.findall(r"server (\S+);", (DEPLOY / servers).read_text("utf-8")) == [f"{name}:8000" for name in SERVERS]


def test_the_steps_name_services_and_commands_that_exist() -> None:
    """In an order in which each finds what it needs; in the end all of them run."""
    started: list[str] = []
    for step in STEPS:
        for words in (shlex.split(part) for part in re.findall(r"docker compose (.*)", step)):
            if words[0] == "up":
                started += [word for word in words[1:] if not word.startswith("-")]
            elif words[0] in ("run", "exec"):
                at = words.index("fairlane")
                assert words[at - 1] == "server-1"
                assert words[0] == "run" or "server-1" in started
                check_command(words[at:])

    assert started == list(services(SECRETS))


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
        if "FAIRLANE_DATABASE" in given:
            given |= {"FAIRLANE_DATABASE": self.database, "FAIRLANE_HOST": "127.0.0.1"}
            given |= {"FAIRLANE_ADMIN_HOST": "127.0.0.1", "FAIRLANE_PORT": str(self.ports[f"{name}:8000"])}
            given |= {"FAIRLANE_ADMIN_PORT": str(self.ports[f"{name}:8001"])}
        for inside, port in self.ports.items():
            given = {key: value.replace(f"http://{inside}", f"http://127.0.0.1:{port}") for key, value in given.items()}
        runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
        self.stack.callback(shutil.rmtree, runtime, ignore_errors=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FAIRLANE_")}
        return kept | given | {"XDG_RUNTIME_DIR": runtime}

    def follow(self, step: str) -> None:
        """One step, by the shell; what stays is started by name."""
        if up := re.fullmatch(r"docker compose up --wait (.*)", step):
            for name in up[1].split():
                self.start(name)
        elif step != "docker compose build":
            here = re.sub(r"docker compose (?:run --rm|exec)(?: -T)? server-1 fairlane", f"{PROGRAM}", step)
            environment = self.environment("server-1") if here != step else None
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
                shlex.split(PROGRAM) + command[1:], cwd=ROOT, env=self.environment(name), stdout=log, stderr=log
            )
        self.stack.callback(process.wait, 30)
        self.stack.callback(process.terminate)
        if name in SERVERS:
            eventually(partial(self._is_ready, name), seconds=30)

    def _is_ready(self, name: str) -> bool:
        return "ready at" in (self.folder / f"{name}.log").read_text()


PROGRAM = f"{shlex.quote(sys.executable)} -m fairlane"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Nothing runs yet but PostgreSQL."""
    with ExitStack() as stack:
        yield Processes(tmp_path, stack)


@needs_nginx
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the secrets")
def test_the_steps_lead_to_a_task_that_is_done(processes: Processes, tmp_path: Path) -> None:
    """As they stand, in their order: a customer's task goes through nginx, a server and a worker with its key."""
    for step in STEPS:
        processes.follow(step)
    (tmp_path / "nginx").mkdir()
    servers = {inside: f"127.0.0.1:{port}" for inside, port in processes.ports.items() if inside.endswith(":8000")}
    proxy = processes.stack.enter_context(Proxy(tmp_path / "nginx", servers, upstream="servers-compose.conf"))
    key = re.findall(r"sk_live_\w+", processes.said[-1])[0]

    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    with proxy.client(key) as customer:
        task = {"taskType": "COUNT_WORDS", "payload": {"text": "to be or not to be"}, "idempotencyKey": "hamlet"}
        assert customer.post("/v1/async/task", json=task).status_code == 200
        done = customer.get("/v1/async/task/hamlet", headers={"prefer": "wait=20"}).json()
    assert (done["task"]["status"], done["response"]) == ("COMPLETED", {"words": 6, "characters": 18})
