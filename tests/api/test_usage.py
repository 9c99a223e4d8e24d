"""History over HTTP: the span, the steps, and what is refused."""

import pytest

from fairlane.sweeper import SAMPLE_MARGIN_MS, _seconds_to_sample
from tests.api.house import Customer, House, fields_of

MINUTE = 60_000


def test_usage_is_told_from_then_to_now(house: House) -> None:
    """By default the last hour, minute by minute; the total is that of its steps, and of the running minute."""
    customer = house.customer(slots=1)
    customer.accepted()
    customer.accepted()
    [lease] = house.session("ANY").claim(5)

    answer = customer.client.get("/v1/async/usage")

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert list(body) == ["from", "to", "stepSeconds", "total", "usage"]
    assert body["stepSeconds"] == 60
    assert len(body["usage"]) in (60, 61)
    assert body["total"]["submitted"] == sum(point["submitted"] for point in body["usage"]) == 2
    assert body["usage"][0]["at"] == body["from"]
    assert lease["attempt"] == 1


def test_a_sampled_minute_knows_its_attempts(house: House) -> None:
    """What the server saw is in it."""
    customer = house.customer()
    customer.accepted()
    house.session("ANY").claim(1)
    house.call(house.store.usage.sample())

    total = customer.client.get("/v1/async/usage").json()["total"]

    assert (total["submitted"], total["started"]) == (1, 1)
    assert total["waitP50Seconds"] is not None


def test_usage_by_type_goes_to_the_last_whole_minute(shared: House) -> None:
    """For customers and operators, by the same rules; up to six hours at once."""
    customer = shared.customer()

    own = customer.client.get("/v1/async/usage/types")
    every = shared.admin.get(f"/admin/v1/usage/types?organization={customer.name}&step=5m")
    long = customer.client.get("/v1/async/usage/types?from=2025-11-10T08:00:00Z&to=2025-11-10T15:00:00Z")

    assert own.headers["cache-control"] == "no-store"
    assert list(own.json()) == ["from", "to", "stepSeconds", "types"]
    assert own.json()["to"].endswith(":00.000Z")
    assert (own.json()["stepSeconds"], own.json()["types"]) == (60, [])
    assert (every.json()["types"], every.json()["start"] % (5 * MINUTE), every.json()["end"] % MINUTE) == ([], 0, 0)
    assert fields_of(long) == ["from"]
    assert shared.admin.get("/admin/v1/usage/types?organization=nobody-here").status_code == 404
    assert fields_of(customer.client.get("/v1/async/usage/types?step=7")) == ["step"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("step=61", "step"),
        ("step=", "step"),
        ("step=1s", "step"),
        ("from=yesterday", "from"),
        ("from=2025-11-10T15:00:00", "from"),
        ("from=2025-11-10T15:00:00.000+01:00", "from"),
        ("to=2025-11-10T25:00:00.000Z", "to"),
        ("from=2025-11-10T15:00:00Z&to=2025-11-10T15:00:00Z", "from"),
        ("from=2025-11-10T15:00:00Z&to=2025-11-10T14:00:00Z", "from"),
        ("from=2020-01-01T00:00:00Z&to=2025-11-10T14:00:00Z", "from"),
        ("from=2999-01-01T00:00:00Z", "from"),
        ("from=2025-11-01T00:00:00Z&to=2025-11-03T00:00:00Z", "step"),
        ("to=0001-01-01T00:00:00Z", "to"),
        ("to=1970-01-01T00:59:59Z", "to"),
        ("from=1969-12-31T23:59:59Z&to=1970-01-01T00:01:00Z", "from"),
        ("until=now", "until"),
    ],
)
def test_a_span_that_cannot_be_is_refused(customer: Customer, query: str, field: str) -> None:
    """By the name of what is wrong."""
    answer = customer.client.get(f"/v1/async/usage?{query}")

    assert answer.status_code == 400
    assert fields_of(answer) == [field]


def test_the_longest_span_of_minutes(customer: Customer) -> None:
    """Just as many steps as may be."""
    query = "from=2025-11-01T00:00:00.000Z&to=2025-11-02T01:00:00.000Z"

    answer = customer.client.get(f"/v1/async/usage?{query}")

    assert answer.status_code == 200
    assert len(answer.json()["usage"]) == 1_500


def test_a_minute_is_sampled_just_before_it_ends() -> None:
    """Not twice in one, whatever the moment."""
    for now in (0, 1, MINUTE - SAMPLE_MARGIN_MS - 1, MINUTE - SAMPLE_MARGIN_MS, MINUTE - 1):
        seconds = _seconds_to_sample(now)

        assert 0 < seconds <= 60
        assert (now + round(seconds * 1000)) % MINUTE == MINUTE - SAMPLE_MARGIN_MS
