"""``GET /v1/async/status``: exact, and null exactly where nobody vouches."""

from collections.abc import Callable

import apsw

from fairlane.settings import database_path
from tests.api.house import Customer, House


def test_an_idle_organization_has_zeros(customer: Customer) -> None:
    """And still a limit: the default plan's."""
    body = customer.status()

    assert body == {
        "queuedTasks": 0,
        "processingTasks": 0,
        "concurrency": {"used": 0, "max": 10},
        "priorityBreakdown": [],
    }
    assert list(body) == ["queuedTasks", "processingTasks", "concurrency", "priorityBreakdown"]


def test_the_answer_is_never_cached(customer: Customer) -> None:
    """No client or proxy may keep it."""
    assert customer.client.get("/v1/async/status").headers["cache-control"] == "no-store"


def test_queued_and_processing_are_told_apart(house: House) -> None:
    """Through submit, claim, and settle; used equals processing."""
    customer, session = house.customer(slots=2), house.session("ANY")
    with customer.client:
        for priority in (1, 5, 5, 10):
            customer.accepted(priority=priority)
        assert customer.status()["priorityBreakdown"] == [
            {"priority": 10, "count": 1},
            {"priority": 5, "count": 2},
            {"priority": 1, "count": 1},
        ]

        leases = session.claim(5)
        body = customer.status()
        session.claim(0, {"lease": leases[0]["lease"], "outcome": "completed", "result": {}})

        assert len(leases) == 2
        assert (body["queuedTasks"], body["processingTasks"]) == (2, 2)
        assert body["concurrency"] == {"used": 2, "max": 2}
        assert body["priorityBreakdown"] == [{"priority": 5, "count": 1}, {"priority": 1, "count": 1}]
        assert customer.status()["concurrency"] == {"used": 1, "max": 2}


def test_a_lowered_limit_is_told_as_it_is(house: House) -> None:
    """``used`` may then be above ``max``; nothing is clamped."""
    customer, session = house.customer(slots=3), house.session("ANY")
    with customer.client:
        for _ in range(4):
            customer.accepted()
        session.claim(5)

        customer.change(slots=1)

        assert customer.status()["concurrency"] == {"used": 3, "max": 1}
        assert session.claim(5) == []


def busy(house: House) -> Customer:
    """An organization with two queued tasks and one running."""
    customer = house.customer(slots=1)
    for _ in range(3):
        customer.accepted()
    house.session("ANY").claim(5)
    return customer


def check_null(customer: Customer) -> None:
    """The object is null, the counts are right."""
    body = customer.status()
    assert body["concurrency"] is None
    assert (body["queuedTasks"], body["processingTasks"]) == (2, 1)
    assert body["priorityBreakdown"] == [{"priority": 1, "count": 2}]


def test_concurrency_is_null_under_the_organizations_maintenance(house: House) -> None:
    """While it lasts, and only for this one."""
    customer, other = busy(house), house.customer()

    customer.change(maintenance=True)

    check_null(customer)
    assert other.status()["concurrency"] is not None
    customer.change(maintenance=False)
    assert customer.status()["concurrency"] == {"used": 1, "max": 1}


def test_concurrency_is_null_under_everybodys_maintenance(house: House) -> None:
    """While it lasts."""
    customer = busy(house)

    assert house.admin.put("/admin/v1/maintenance", json={"on": True}).json() == {"on": True}

    check_null(customer)
    house.admin.put("/admin/v1/maintenance", json={"on": False})
    assert customer.status()["concurrency"] == {"used": 1, "max": 1}


def test_concurrency_is_null_without_a_limit(house: House) -> None:
    """A plan whose slots nobody has set."""
    customer = busy(house)
    house.admin.post("/admin/v1/plans", json={"name": "blank", "slots": None})

    customer.change(plan="blank", slots=None)

    check_null(customer)


def test_concurrency_is_null_while_the_counts_are_wrong(a_file_house: Callable[..., House]) -> None:
    """From the self-audit that finds it to the repair; the counts come from the rows meanwhile."""
    house = a_file_house(sweep_seconds=3600)
    customer = busy(house)
    connection = apsw.Connection(str(database_path(house.settings.database)))
    connection.set_busy_timeout(5000)
    connection.execute("UPDATE organization SET processing = processing + 1 WHERE name = ?", (customer.name,))
    connection.close()

    drift = house.admin.get("/admin/v1/drift").json()["drift"]
    house.call(house.store.recount.audit_next())
    check_null(customer)
    mended = house.admin.post(f"/admin/v1/organizations/{customer.name}/repair").json()["drift"]

    assert drift == [{"organization": customer.name, "name": "processing", "kept": 2, "counted": 1}]
    assert mended == drift
    assert customer.status()["concurrency"] == {"used": 1, "max": 1}
    assert house.admin.get("/admin/v1/drift").json() == {"drift": [], "organizations": 1}


def test_a_paused_organization_still_has_its_numbers(house: House) -> None:
    """Pausing is no inability to know."""
    customer = busy(house)

    customer.change(paused=True)

    assert customer.status()["concurrency"] == {"used": 1, "max": 1}
