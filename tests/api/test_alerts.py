"""Alerts over HTTP: kept, changed, refused, and sent by a real sender."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.house import Customer, House, error_of, eventually, fields_of

URL = "https://hooks.example/alert"


def a_body(**changes: Any) -> dict[str, Any]:
    """More than ten queued, at once."""
    return {"kind": "QUEUED_ABOVE", "threshold": 10, "forSeconds": 0, "webhook": {"url": URL}} | changes


def test_an_alert_is_kept_changed_and_deleted(house: House) -> None:
    """Each answer has the whole of it."""
    client = house.customer().client

    made = client.post("/v1/alerts", json=a_body()).json()
    alert = made["alert"]
    listed = client.get("/v1/alerts").json()
    changed = client.put(f"/v1/alerts/{alert['id']}", json=a_body(kind="UTILIZATION_ABOVE", threshold=0.8)).json()
    read = client.get(f"/v1/alerts/{alert['id']}").json()
    deleted = client.delete(f"/v1/alerts/{alert['id']}")

    assert made["success"] is True
    assert (alert["kind"], alert["threshold"], alert["forSeconds"]) == ("QUEUED_ABOVE", 10, 0)
    assert (alert["webhook"], alert["firing"], alert["changedAt"]) == ({"url": URL}, False, None)
    assert listed == {"alerts": [alert]}
    assert changed["alert"]["threshold"] == 0.8
    assert read == changed
    assert deleted.status_code == 200
    assert client.get("/v1/alerts").json() == {"alerts": []}
    assert client.delete(f"/v1/alerts/{alert['id']}").status_code == 404


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"kind": "LOUD"}, ["kind"]),
        ({"kind": None}, ["kind"]),
        ({"threshold": -1}, ["threshold"]),
        ({"threshold": True}, ["threshold"]),
        ({"threshold": "10"}, ["threshold"]),
        ({"forSeconds": 1.5}, ["forSeconds"]),
        ({"forSeconds": 86_401}, ["forSeconds"]),
        ({"forSeconds": -1}, ["forSeconds"]),
        ({"webhook": None}, ["webhook"]),
        ({"webhook": {"url": "ftp://x.example/"}}, ["webhook.url"]),
        ({"webhook": {"url": "http://127.0.0.1/"}}, ["webhook.url"]),
        ({"name": "x"}, ["name"]),
        (
            {"kind": 1, "threshold": None, "forSeconds": None, "webhook": 1},
            ["kind", "threshold", "forSeconds", "webhook"],
        ),
    ],
    ids=str,
)
def test_an_alert_that_cannot_be_is_refused(customer: Customer, changes: dict[str, Any], fields: list[str]) -> None:
    """By every field that is wrong; where webhooks may not go, alerts may not."""
    answer = customer.client.post("/v1/alerts", json=a_body(**changes))

    assert answer.status_code == 400
    assert fields_of(answer) == fields


@pytest.mark.parametrize("identity", ["x", "019aa000-0000-7000-8000-00000000000d"])
def test_an_unknown_alert_is_not_found(house: House, identity: str) -> None:
    """Nor is another organization's."""
    client, stranger = house.customer().client, house.customer().client
    theirs = stranger.post("/v1/alerts", json=a_body()).json()["alert"]["id"]

    for one in (identity, theirs):
        assert client.get(f"/v1/alerts/{one}").status_code == 404
        assert client.put(f"/v1/alerts/{one}", json=a_body()).status_code == 404
        assert error_of(client.delete(f"/v1/alerts/{one}"))["details"] == {"id": one}
    assert stranger.get(f"/v1/alerts/{theirs}").status_code == 200


def test_an_alert_fires_by_itself(a_house: Callable[..., House]) -> None:
    """Upkeep finds out, and a message is owed to its webhook once."""
    house = a_house(sweep_seconds=0.05)
    customer = house.customer()
    alert = customer.client.post("/v1/alerts", json=a_body(threshold=0)).json()["alert"]
    assert customer.client.get("/v1/webhooks/deliveries").json()["deliveries"] == []

    customer.accepted()

    eventually(lambda: customer.client.get(f"/v1/alerts/{alert['id']}").json()["alert"]["firing"])
    [delivery] = customer.client.get("/v1/webhooks/deliveries").json()["deliveries"]
    assert (delivery["url"], delivery["taskId"]) == (URL, None)
