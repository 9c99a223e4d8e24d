"""compose.yaml and the steps that start it, with processes for its containers; ``make container`` has real ones."""

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from fairlane.settings import read_settings
from tests.cli.harness import ROOT
from tests.deploy.compose import (
    SECRETS,
    SECTION,
    SERVERS,
    STEPS,
    TEXT,
    Processes,
    image_command,
    image_environment,
    services,
)
from tests.deploy.proxy import Proxy, needs_nginx
from tests.deploy.test_material import DEPLOY, VARIABLES, check_command


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
