"""deploy/kubernetes: what its files name exists, here and in each other. ``make release`` checks their schema."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlane.settings import read_settings
from tests.deploy.test_material import DEPLOY, VARIABLES, check_command

KUBERNETES = DEPLOY / "kubernetes"
PAGE = DEPLOY.parent / "docs" / "operators" / "deployment.md"
SECTION = PAGE.read_text("utf-8").partition("\n## Kubernetes\n")[2].partition("\n## ")[0]


def resources() -> list[dict[str, Any]]:
    """Everything that the files describe."""
    files = sorted(path for path in KUBERNETES.glob("*/*.yaml") if path.name != "kustomization.yaml")
    return [document for file in files for document in yaml.safe_load_all(file.read_text("utf-8"))]


def pods() -> dict[str, dict[str, Any]]:
    """The specification of each pod that is started, by the name of what starts it."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in resources()
        if "template" in each.get("spec", {})
    }


def variables(pod: dict[str, Any]) -> dict[str, str]:
    """Return what a pod's container is given, with a made-up value for each secret."""
    made_up = {"database": "postgresql://postgres.example/fairlane", "worker-key": "wk_live_" + "0" * 32}
    return {
        given["name"]: given.get("value") or made_up.get(given["valueFrom"]["secretKeyRef"]["key"], "x" * 32)
        for given in pod["containers"][0]["env"]
    }


@pytest.mark.parametrize("folder", ["base", "keda"])
def test_each_folder_lists_its_files(folder: str) -> None:
    """A file that is not listed would never be applied."""
    listed = yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text("utf-8"))["resources"]
    there = {path.name for path in (KUBERNETES / folder).iterdir()} - {"kustomization.yaml"}

    assert {name for name in listed if not name.startswith("..")} == there
    assert all((KUBERNETES / folder / name).exists() for name in listed)


def test_every_pod_runs_a_command_that_exists_with_settings_that_are_read() -> None:
    """Commands, variables, and the image's user."""
    assert set(pods()) == {"fairlane-migrate", "server", "worker"}
    for name, pod in pods().items():
        container, given = pod["containers"][0], variables(pod)
        address = ["--server", given["FAIRLANE_WORKER_SERVERS"]] if name == "worker" else []
        check_command([*container["command"], *address])
        assert set(given) <= VARIABLES
        read_settings({}, given)
        assert container["image"] == "fairlane-app"
        assert pod["securityContext"]["runAsUser"] == 10_001
        assert f"--uid {pod['securityContext']['runAsUser']}" in (DEPLOY / "Containerfile").read_text("utf-8")


def test_a_pod_that_drains_has_time_for_it() -> None:
    """The time until the kill covers the pause before the end and the drain, with some to spare."""
    for name in ("server", "worker"):
        pod = pods()[name]
        pause = (
            pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])[1]
        )
        drain = read_settings({}, variables(pod)).drain_seconds
        assert int(pause) + drain + 10 <= pod["terminationGracePeriodSeconds"]


def test_ports_services_policies_and_workers_agree() -> None:
    """One name for each port; services choose the servers; workers and the autoscaler use the private one."""
    server = pods()["server"]["containers"][0]
    settings = read_settings({}, variables(pods()["server"]))
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    labels = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]
        for each in resources()
        if each["kind"] == "Deployment"
    }
    services = {each["metadata"]["name"]: each["spec"] for each in resources() if each["kind"] == "Service"}
    private = {port["port"]: port["targetPort"] for port in services["fairlane-admin"]["ports"]}
    scaling = next(each for each in resources() if each["kind"] == "ScaledObject")["spec"]
    asked = scaling["triggers"][0]["metadata"]["url"]

    assert ports == {"http": settings.port, "admin": settings.admin_port}
    assert all(spec["selector"] == labels["server"]["labels"] for spec in services.values())
    assert {port["targetPort"] for spec in services.values() for port in spec["ports"]} == set(ports)
    assert variables(pods()["worker"])["FAIRLANE_WORKER_SERVERS"] == "http://fairlane-admin:8001"
    assert private == {8001: "admin"}
    assert asked == "http://fairlane-admin.fairlane.svc:8001/admin/v1/scaling"
    assert scaling["scaleTargetRef"]["name"] in labels
    assert {probe["httpGet"]["path"] for name, probe in server.items() if name.endswith("Probe")} == {
        "/livez",
        "/readyz",
    }


def test_the_page_makes_every_secret_that_is_read() -> None:
    """Each key of the secret that a pod or the autoscaler reads is made by the steps."""
    text = "".join(path.read_text("utf-8") for path in KUBERNETES.glob("*/*.yaml"))
    read = set(re.findall(r"name: fairlane\n +key: ([\w-]+)", text)) | set(
        re.findall(r"name: fairlane, key: ([\w-]+)", text)
    )

    assert (
        read
        == set(re.findall(r"--from-literal=([\w-]+)=", SECTION))
        == {"database", "secret-key", "worker-key", "admin-key"}
    )


def test_the_steps_name_files_and_commands_that_exist() -> None:
    """Each path that is applied is there, each command of fairlane would be taken."""
    steps = [line for line in SECTION.splitlines() if "kubectl" in line]
    commands = [shlex.split(line.partition(" -- ")[2]) for line in steps if " -- " in line]

    assert len(commands) == 4
    for words in commands:
        check_command(words)
    for path in re.findall(r"apply -[fk] (\S+)", SECTION):
        assert Path(DEPLOY.parent, path).exists(), path
