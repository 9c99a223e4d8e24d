"""``fairlane tasks``, ``fairlane sessions`` and the audit's filters, without a server."""

import asyncio

import pytest

from fairlane.bulks import BulkWork
from fairlane.model.leases import Failed, Origin
from fairlane.settings import Settings
from fairlane.store import Store
from tests.builders import a_catalogue, a_task, a_worker, submitted
from tests.cli.harness import Command


@pytest.fixture
def tasks(fairlane: Command, database: str) -> list[str]:
    """Two tasks of acme."""
    assert fairlane("organizations", "create", "acme").code == 0

    async def submit() -> list[str]:
        store = await Store.open(Settings(database=database), {})
        try:
            return await submitted(store, await store.organizations.find("acme"), a_task("PAGE"), a_task("IMAGE"))
        finally:
            await store.close()

    return asyncio.run(submit())


def test_tasks_are_listed_and_shown(fairlane: Command, tasks: list[str]) -> None:
    """Newest first; one alone with all that is known of it."""
    listed = fairlane("tasks", "list", "--organization", "acme", "--json").document["tasks"]
    images = fairlane("tasks", "list", "--type", "IMAGE", "--status", "QUEUED", "--json").document["tasks"]
    shown = fairlane("tasks", "show", tasks[0], "--json").document

    assert [one["id"] for one in listed] == tasks[::-1]
    assert images == listed[:1]
    assert shown == listed[1]
    assert tasks[0] in fairlane("tasks", "show", tasks[0]).out


def test_a_list_that_goes_on_says_how(fairlane: Command, tasks: list[str]) -> None:
    """The rest is found with the cursor."""
    first = fairlane("tasks", "list", "--limit", "1")

    cursor = first.err.rpartition("--cursor ")[2].strip()
    rest = fairlane("tasks", "list", "--limit", "1", "--cursor", cursor, "--json").document
    assert tasks[1] in first.out
    assert [one["id"] for one in rest["tasks"]] == tasks[:1]


def test_attempts_and_failures_are_shown(fairlane: Command, database: str, tasks: list[str]) -> None:
    """How an attempt ended, with its cause; and its group, with a sample."""
    assert "not started" in fairlane("tasks", "attempts", tasks[1]).out
    assert fairlane("failures").out == "Nothing failed.\n"

    async def fail() -> None:
        store = await Store.open(Settings(database=database), a_catalogue())
        try:
            worker = await a_worker(store, ["IMAGE"])
            ending = Failed(cause="KeyError: x", retry=False, origin=Origin("KeyError", "shop:total", 7))
            await worker.settle(await worker.take_one(), ending)
        finally:
            await store.close()

    asyncio.run(fail())
    attempts = fairlane("tasks", "attempts", tasks[1], "--json").document["attempts"]
    [group] = fairlane("failures", "--organization", "acme", "--json").document["failures"]

    assert [(one["number"], one["ending"], one["cause"]) for one in attempts] == [(1, "FAILED", "KeyError: x")]
    for shown in (fairlane("tasks", "attempts", tasks[1]).out, fairlane("tasks", "show", tasks[1]).out):
        assert "KeyError: x" in shown
    assert (group["failures"], group["exception"], group["sample"]["task"]) == (1, "KeyError", tasks[1])
    listed = fairlane("failures", "--limit", "5").out
    assert "shop:total (line 7)" in listed
    assert group["group"] in listed


def test_many_tasks_are_canceled_after_a_question(fairlane: Command, tasks: list[str], database: str) -> None:
    """A dry run only counts; without a terminal --yes is needed; without a server the bulk waits for one."""
    counted = fairlane("tasks", "cancel", "--type", "IMAGE", "--since", "1h", "--dry-run")
    asked = fairlane("tasks", "cancel", "--type", "IMAGE")
    begun = fairlane("tasks", "cancel", "--type", "IMAGE", "--yes", "--json")

    assert counted.out == "1 task. Nothing was changed.\n"
    assert (asked.code, "--yes" in asked.err) == (2, True)
    assert (begun.document["state"], begun.document["filter"]) == ("RUNNING", {"type": "IMAGE"})
    assert "no server runs" in begun.err
    assert fairlane("tasks", "list", "--status", "FAILED", "--json").document == {"tasks": []}

    async def work() -> None:
        store = await Store.open(Settings(database=database), {})
        try:
            assert await BulkWork(store, {}).round() == 1
        finally:
            await store.close()

    asyncio.run(work())
    [bulk] = fairlane("tasks", "bulks", "--json").document
    failed = fairlane("tasks", "list", "--status", "FAILED", "--code", "TASK_CANCELED", "--json").document["tasks"]
    assert (bulk["state"], bulk["done"]) == ("DONE", 1)
    assert [one["id"] for one in failed] == tasks[1:]
    assert fairlane("tasks", "stop", bulk["id"]).out == "done: 1 canceled.\n"
    assert fairlane("tasks", "retry", "--dry-run").out == "1 task. Nothing was changed.\n"
    assert fairlane("tasks", "retry", "--status", "QUEUED", "--yes").code == 1
    assert fairlane("tasks", "cancel", tasks[0], "--type", "PAGE").code == 2


def test_no_worker_is_no_mistake(fairlane: Command) -> None:
    """Nobody is there without a server."""
    assert fairlane("sessions", "list", "--json").document == {"sessions": [], "failed_starts": []}
    assert fairlane("sessions", "list").out == "No worker runs.\n"


def test_the_audit_is_filtered(fairlane: Command) -> None:
    """By what, on whom, by whom."""
    fairlane("organizations", "create", "acme")
    fairlane("organizations", "pause", "acme")
    fairlane("plans", "create", "pro", "--slots", "2")

    rows = fairlane("audit", "--subject", "acme", "--action", "organization.changed", "--json").document["audit"]

    assert [row["details"] for row in rows] == [{"paused": True}]
    assert fairlane("plans", "delete", "pro").code == 0
    assert fairlane("plans", "delete", "default").code == 1
