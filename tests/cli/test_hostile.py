"""Whatever a handler returns, raises or says costs its own attempt: its worker process and its neighbours go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlane.client import Client, NewTask, Task
from tests.cli import hostile
from tests.cli.conftest import running
from tests.cli.harness import Command, RunningServer, eventually
from tests.worker.test_supervisor import is_running

FLAGS = ("--workers", "1", "--places", "40")


@pytest.fixture
def working_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server of the hostile application with one worker process."""
    yield from running(tmp_path, *FLAGS, app="tests/cli/hostile.py:app")


def organization(fairlane: Command, server: RunningServer, name: str) -> Client:
    """A client of a new organization."""
    fairlane("organizations", "create", name, "--slots", "4")
    return Client(server.address, fairlane("keys", "create", name, "--json").document["value"])


@pytest.mark.timeout(300)
def test_no_value_of_a_handler_costs_more_than_its_own_attempt(
    fairlane: Command, working_server: RunningServer, tmp_path: Path
) -> None:
    """On the loop, on a thread and alone, beside a neighbour of another organization that began before them."""
    with (
        organization(fairlane, working_server, "villain") as villain,
        organization(fairlane, working_server, "acme") as acme,
    ):
        places = {name: {"began": f"{tmp_path / name}", "until": f"{tmp_path / 'gate'}"} for name in ("a", "b")}
        neighbours = [acme.submit("NEIGHBOUR", places["a"]), acme.submit("NEIGHBOUR_ALONE", places["b"])]
        while not all((tmp_path / name).exists() for name in places):
            acme.status()

        kinds = [(way, *ending) for way in ("ON_LOOP", "ON_THREAD", "ALONE") for ending in hostile.ENDINGS]
        tasks = [NewTask(task_type=way, payload={"kind": kind, "number": n}) for way, kind, n in kinds]
        verdicts = list(villain.submit_many(tasks))
        ended = {task.id: task for task in villain.as_completed(verdicts, timeout_seconds=120)}
        (tmp_path / "gate").touch()
        stayed = [acme.wait(task, timeout_seconds=60) for task in neighbours]

    outcomes = {kind: _outcome(ended[str(verdict.task_id)]) for kind, verdict in zip(kinds, verdicts, strict=True)}
    for way in ("ON_THREAD", "ALONE"):
        differing = [kind for kind in outcomes if kind[0] == way and outcomes[kind] != outcomes["ON_LOOP", *kind[1:]]]
        assert not differing, [(kind, outcomes[kind], outcomes["ON_LOOP", *kind[1:]]) for kind in differing]
    assert [task.response and task.response.get("attempt") for task in stayed] == [1, 1]
    log = (tmp_path / "server.log").read_text()
    assert log.count("worker.ready") == 1
    assert "worker.ended" not in log
    assert outcomes["ON_LOOP", "said", 0] == "COMPLETED"
    assert outcomes["ON_LOOP", "raised", 12] == "A"
    assert outcomes["ON_LOOP", "raised", 13] == "A\N{REPLACEMENT CHARACTER}B\N{REPLACEMENT CHARACTER}"
    assert {outcomes[kind] for kind in kinds if kind[1] in ("spawned", "done")} == {"COMPLETED"}
    done = [ended[str(one.task_id)].response for kind, one in zip(kinds, verdicts, strict=True) if kind[1] == "done"]
    copies = [response["done"] for response in done if response and response["done"]]
    assert len(copies) == 6
    eventually(lambda: not any(map(is_running, copies)))
    assert "worker.crashed" not in log
    assert "application.changed" in log
    assert "report.refused" not in log, "what is known beforehand is not left to the server"


def _outcome(task: Task) -> str:
    return task.status if task.error is None else task.error.code
