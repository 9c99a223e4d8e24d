"""The operator's routes over the admin socket: what they change, refuse, and leave in the audit."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from fairlane.settings import database_path
from tests.api.house import House, error_of, eventually, fields_of

SEED_KEY = "sk_live_1234567890abcdef1234567890abcdef"


def test_an_organization_has_its_plans_limits_or_its_own(house: House) -> None:
    """And they can be given back."""
    house.admin.post("/admin/v1/plans", json={"name": "pro", "slots": 20, "queue_limit": 50, "weight": 3})
    made = house.admin.post("/admin/v1/organizations", json={"name": "acme", "plan": "pro", "slots": 4}).json()
    raised = house.admin.patch("/admin/v1/organizations/acme", json={"slots": None, "weight": 7}).json()

    assert (made["slots_max"], made["queue_limit"], made["weight"]) == (4, 50, 3)
    assert (raised["slots_max"], raised["queue_limit"], raised["weight"]) == (20, 50, 7)
    assert house.admin.get("/admin/v1/organizations/acme").json() == raised
    assert house.admin.get("/admin/v1/organizations").json() == {"organizations": [raised]}


def test_a_changed_plan_changes_its_organizations(house: House) -> None:
    """Except where they have limits of their own."""
    house.admin.post("/admin/v1/organizations", json={"name": "own", "slots": 4})
    house.admin.post("/admin/v1/organizations", json={"name": "plain"})

    changed = house.admin.patch("/admin/v1/plans/default", json={"slots": 33}).json()

    assert changed["slots"] == 33
    assert house.admin.get("/admin/v1/plans/default").json() == changed
    assert house.admin.get("/admin/v1/plans").json() == {"plans": [changed]}
    slots = {
        one["name"]: one["slots_max"] for one in house.admin.get("/admin/v1/organizations").json()["organizations"]
    }
    assert slots == {"own": 4, "plain": 33}


def test_a_key_is_shown_once_and_only_its_digest_is_kept(file_house: House) -> None:
    """Not in later answers, not in the audit, not in the database's files."""
    customer = file_house.customer()
    value = customer.key["value"]

    listed = file_house.admin.get(f"/admin/v1/organizations/{customer.name}/keys").json()["keys"]
    audit = file_house.admin.get("/admin/v1/audit").text

    [key] = listed
    assert key == {field: given for field, given in customer.key.items() if field != "value"}
    assert key["last4"] == value[-4:]
    assert value not in audit
    path = database_path(file_house.settings.database)
    files = b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))
    assert value.encode() not in files
    assert hashlib.sha256(value.encode()).hexdigest().encode() in files


def test_a_key_of_the_operators_choice_works(house: House) -> None:
    """The seed's literal key; once, for one organization."""
    customer, other = house.customer(), house.customer()
    made = house.admin.post(f"/admin/v1/organizations/{customer.name}/keys", json={"name": "seed", "value": SEED_KEY})
    taken = house.admin.post(f"/admin/v1/organizations/{other.name}/keys", json={"value": SEED_KEY})

    assert (made.json()["value"], made.json()["name"]) == (SEED_KEY, "seed")
    assert taken.status_code == 409
    assert SEED_KEY not in taken.text
    answer = customer.client.get("/v1/async/status", headers={"authorization": f"Bearer {SEED_KEY}"})
    assert answer.status_code == 200


def test_a_revoked_key_is_listed_as_such(house: House) -> None:
    """Revoking again changes nothing."""
    customer = house.customer()

    revoked = house.admin.delete(f"/admin/v1/keys/{customer.key['id']}").json()
    again = house.admin.delete(f"/admin/v1/keys/{customer.key['id']}")

    assert revoked["revoked_at"] >= revoked["created_at"]
    assert again.status_code in (200, 404)
    [listed] = house.admin.get(f"/admin/v1/organizations/{customer.name}/keys").json()["keys"]
    assert listed == revoked


def test_every_change_leaves_an_audit_row_that_names_who(house: House) -> None:
    """Newest first; the user on the other end of the socket."""
    house.admin.post("/admin/v1/organizations", json={"name": "acme"})
    house.admin.patch("/admin/v1/organizations/acme", json={"paused": True})
    house.admin.put("/admin/v1/maintenance", json={"on": True})

    rows = house.admin.get("/admin/v1/audit?limit=3").json()["audit"]

    assert len(rows) == 3
    assert {row["actor"] for row in rows} == {f"admin socket uid={os.getuid()}"}
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
    assert {"paused": True}.items() <= rows[1]["details"].items()


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "organizations", {"name": ""}, "name"),
        ("POST", "organizations", {"name": "-acme"}, "name"),
        ("POST", "organizations", {"name": "a b"}, "name"),
        ("POST", "organizations", {"name": "a/b"}, "name"),
        ("POST", "organizations", {"name": "a" * 65}, "name"),
        ("POST", "organizations", {"name": "acme\n"}, "name"),
        ("POST", "organizations", {}, "name"),
        ("POST", "organizations", {"name": "acme", "slots": 0}, "slots"),
        ("POST", "organizations", {"name": "acme", "slots": -1}, "slots"),
        ("POST", "organizations", {"name": "acme", "slots": 1.5}, "slots"),
        ("POST", "organizations", {"name": "acme", "slots": True}, "slots"),
        ("POST", "organizations", {"name": "acme", "queue_limit": 0}, "queue_limit"),
        ("POST", "organizations", {"name": "acme", "weight": 0}, "weight"),
        ("POST", "organizations", {"name": "acme", "weight": 1001}, "weight"),
        ("POST", "organizations", {"name": "acme", "color": 1}, "color"),
        ("PATCH", "organizations/there", {"slots": 0}, "slots"),
        ("PATCH", "organizations/there", {"paused": 1}, "paused"),
        ("PATCH", "organizations/there", {"queued": 5}, "queued"),
        ("POST", "organizations/there/keys", {"value": "short"}, "value"),
        ("POST", "organizations/there/keys", {"value": SEED_KEY + "\n"}, "value"),
        ("POST", "organizations/there/keys", {"name": ""}, "name"),
        ("POST", "organizations/there/keys", {"name": "n" * 65}, "name"),
        ("POST", "plans", {"name": "p"}, "slots"),
        ("POST", "plans", {"name": "p", "slots": 0}, "slots"),
        ("PATCH", "plans/default", {"queue_limit": None}, "queue_limit"),
        ("PATCH", "plans/default", {"priority_limit": 11}, "priority_limit"),
        ("PATCH", "organizations/there", {"priority_limit": 0}, "priority_limit"),
        ("PATCH", "plans/default", {"task_types": []}, "task_types"),
        ("POST", "organizations", {"name": "acme", "task_types": ["PAGE", "a b"]}, "task_types"),
        ("PATCH", "organizations/there", {"task_types": ["A"] * 101}, "task_types"),
        ("PUT", "maintenance", {"on": "yes"}, "on"),
        ("GET", "audit?limit=0", None, "limit"),
        ("GET", "audit?limit=x", None, "limit"),
        ("GET", "audit?color=1", None, "color"),
        ("GET", "drift?organization=a&organization=b", None, "organization"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(shared: House, method: str, path: str, body: Any, field: str) -> None:
    """400 with the field; nothing is changed."""
    shared.admin.post("/admin/v1/organizations", json={"name": "there"})
    before = shared.admin.get("/admin/v1/audit").json()

    answer = shared.admin.request(method, f"/admin/v1/{path}", json=body)

    assert answer.status_code == 400
    assert fields_of(answer) == [field]
    assert shared.admin.get("/admin/v1/audit").json() == before


def test_no_slots_is_refused_with_what_to_do_instead(shared: House) -> None:
    """Pausing is a flag."""
    answer = shared.admin.post("/admin/v1/organizations", json={"name": "zero", "slots": 0})

    assert "pause" in error_of(answer)["details"][0]["message"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "organizations/nobody", None),
        ("PATCH", "organizations/nobody", {"paused": True}),
        ("GET", "organizations/nobody/keys", None),
        ("POST", "organizations/nobody/keys", {}),
        ("POST", "organizations/nobody/repair", None),
        ("POST", "organizations", {"name": "fresh", "plan": "nothing"}),
        ("DELETE", "keys/nothing", None),
        ("GET", "plans/nothing", None),
        ("PATCH", "plans/nothing", {"slots": 1}),
        ("GET", "drift?organization=nobody", None),
        ("GET", "nothing", None),
        ("DELETE", "organizations/nobody", None),
    ],
)
def test_what_is_not_there_is_not_found(shared: House, method: str, path: str, body: Any) -> None:
    """404."""
    answer = shared.admin.request(method, f"/admin/v1/{path}", json=body)

    assert answer.status_code == 404
    assert error_of(answer)["code"] == "RESOURCE_NOT_FOUND"


def test_a_name_is_taken_once(house: House) -> None:
    """409 for organizations and plans."""
    for path, body in (("organizations", {"name": "acme"}), ("plans", {"name": "pro", "slots": 1})):
        assert house.admin.post(f"/admin/v1/{path}", json=body).status_code == 200
        answer = house.admin.post(f"/admin/v1/{path}", json=body)
        assert answer.status_code == 409
        assert error_of(answer)["code"] == "RESOURCE_ALREADY_EXISTS"


def test_the_server_says_what_it_is(file_house: House) -> None:
    """And the lock file says where its admin socket is, so that it can be asked."""
    facts = file_house.admin.get("/admin/v1/server").json()
    path = database_path(file_house.settings.database)
    owner = json.loads(Path(f"{path}.lock").read_text())

    assert facts["address"] == file_house.server.address == owner["address"]
    assert facts["pid"] == os.getpid() == owner["pid"]
    assert facts["task_types"] == ["PAGE", "ANY", "OTHER"]
    assert facts["draining"] is False
    assert owner["admin_socket"] == str(file_house.server.admin_socket)


def test_the_sockets_are_for_their_owner_alone(house: House) -> None:
    """And customers' paths are not on them."""
    folder = house.server.admin_socket.parent

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert house.admin.get("/v1/async/status").status_code == 404


def test_a_recount_holds_while_tasks_move(house: House) -> None:
    """In one snapshot, whatever happens meanwhile."""
    customer, session = house.customer(slots=3), house.session("ANY")
    for _ in range(10):
        customer.accepted()
        session.claim(1)
        assert house.admin.get("/admin/v1/drift").json()["drift"] == []

    assert eventually(lambda: customer.status()["processingTasks"] == 3)
    assert house.admin.get(f"/admin/v1/drift?organization={customer.name}").json() == {"drift": [], "organizations": 1}
