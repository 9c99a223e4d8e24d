"""``/`` and ``/docs``: what people find at the customers' port, while programs find what they always did."""

from collections.abc import Callable

import httpx2
import pytest

from tests.api.house import House

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_people_are_led_on_from_the_root(shared: House) -> None:
    """To the reference, the dashboard and the description; a cache keeps the two kinds of answers apart."""
    with shared.client() as client:
        page = client.get("/", headers={"accept": BROWSER})
        led = [client.get(path).status_code for path in ("/docs", "/dashboard", "/openapi.json")]

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "accept, accept-encoding"
    assert [f'href="{path}"' in page.text for path in ("/docs", "/dashboard", "/openapi.json")] == [True] * 3
    assert led == [200] * 3


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_programs_get_the_answer_of_an_unknown_path(shared: House, accept: str) -> None:
    """In JSON, with the code for it."""
    with shared.client() as client:
        answer = client.get("/", headers={"accept": accept})
        unknown = client.get("/nothing", headers={"accept": accept})

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")
    assert answer.json()["error"]["message"] == unknown.json()["error"]["message"].replace("/nothing", "/")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_let_nothing_come_from_elsewhere(shared: House, path: str) -> None:
    """They have the policy of the dashboard; their files are our own, and nothing in them runs by itself."""
    with shared.client(None, accept=BROWSER) as client:
        page, dashboard = client.get(path), client.get("/dashboard")

    assert page.headers["content-security-policy"] == dashboard.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "//" not in page.text
    assert "style=" not in page.text
    assert "{" not in page.text


def test_the_pages_are_left_out_with_the_dashboard(a_house: Callable[..., House]) -> None:
    """One setting turns off everything for people; the description for programs stays."""
    with a_house(dashboard=False).client(None, accept=BROWSER) as client:
        statuses = [client.get(path).status_code for path in ("/", "/docs", "/openapi.json")]

    assert statuses == [404, 404, 200]


def test_the_operators_port_has_no_customers_reference(a_house: Callable[..., House]) -> None:
    """It serves none of the requests that the reference describes."""
    house = a_house(admin_port=0)

    answer = httpx2.get(f"{house.server.admin_address}/docs", headers={"accept": BROWSER})

    assert answer.status_code == 404
