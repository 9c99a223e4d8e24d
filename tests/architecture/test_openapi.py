"""The API's description says what there is: every route, every answer, every error; and what it shows is true."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fairlane import errors, wire
from fairlane.api.customers import customer_part, customer_routes, customer_surface
from fairlane.api.openapi import DETAILS, EXAMPLES_PATH, WEBHOOKS, document
from fairlane.handlers import load_app
from tests.api.house import House, an_application
from tests.architecture import openapi_reference
from tests.architecture.openapi_reference import DOCUMENT_PATH, GOLDEN, INDEX_PATH
from tests.strictness import closed
from tests.tables import each

DESCRIBED = {route.line: route for route in customer_routes(an_application().task_types)}
DOCUMENT = closed(document(tuple(DESCRIBED.values()), an_application().task_types))


def test_every_route_of_customers_is_served_and_described(tmp_path: Path) -> None:
    """Each class of endpoints is both served and described; none of its routes lacks a description."""
    with House(tmp_path) as house:
        serving, callers = house.server.serving, house.server.callers
        assert callers is not None
        surface = customer_surface(serving, customer_part(serving, callers))
    served = {f"{method} {resource.path}" for resource in surface.resources for method in resource.methods}

    assert {re.sub(r"\{\w+\}", "{}", line) for line in DESCRIBED} == served
    assert not [line for line, route in DESCRIBED.items() if not (route.id and route.tag and route.summary)]


def test_operations_have_ids_of_their_own() -> None:
    """Generated clients name functions by them."""
    ids = [operation.id for operation in DESCRIBED.values()]

    assert len(set(ids)) == len(ids)


def test_every_body_is_described() -> None:
    """Each type of a body that the wire exports is the answer of a route, or a message to webhooks."""
    told = {one.body for one in WEBHOOKS.values()}
    exported = [getattr(wire, name) for name in wire.__all__ if name.endswith("Body")]

    described = [route.answer for route in DESCRIBED.values() if route.answer is not Any]

    assert all(body in exported for body in described)
    assert all(body in told or body in described for body in exported)


def test_what_is_generated_is_up_to_date() -> None:
    """`make format` writes all three."""
    assert EXAMPLES_PATH.read_text("utf-8") == openapi_reference.examples()
    assert DOCUMENT_PATH.read_text("utf-8") == openapi_reference.openapi()
    assert INDEX_PATH.read_text("utf-8") == openapi_reference.index()


@pytest.mark.parametrize("application", [an_application(), load_app("examples/quickstart.py:app")])
def test_the_description_is_valid(application: Any) -> None:
    """By the standard's own validator."""
    from openapi_spec_validator import OpenAPIV31SpecValidator  # large: not for every process of a run

    OpenAPIV31SpecValidator(document(customer_routes(application.task_types), application.task_types)).validate()


@each("route", DESCRIBED)
def test_the_examples_fit_what_is_described(route: str) -> None:
    """Each answer shown has exactly the fields described, and each refusal too."""
    method, path = route.split()

    shown = 0
    for answer in DOCUMENT["paths"][path][method.lower()]["responses"].values():
        for body in (answer.get("content") or _resolved(answer).get("content") or {}).values():
            for example in body.get("examples", {}).values():
                check(_resolved(example)["value"], body["schema"])
                shown += 1

    assert shown


def test_what_webhooks_are_told_fits_what_is_described() -> None:
    """Every golden body of a webhook, of tasks and of alerts."""
    shown = set()
    for told in DOCUMENT["webhooks"].values():
        [body] = told["post"]["requestBody"]["content"].values()
        for name, example in body["examples"].items():
            check(_resolved(example)["value"], body["schema"])
            shown.add(name)

    assert shown == {path.stem for path in GOLDEN.glob("webhook_*.json")}


@each("kind", errors.Refusal.__subclasses__())
def test_the_details_of_a_refusal_are_described(kind: type[errors.Refusal]) -> None:
    """DETAILS has the shape that the golden file has, or neither has any."""
    error = json.loads((GOLDEN / f"error_{kind.__name__}.json").read_text("utf-8"))["error"]
    if kind in (errors.NameTaken, errors.InUse, errors.SessionGone):
        return  # Not the customers'.

    assert ("details" in error) == (kind in DETAILS)
    if kind in DETAILS:
        check(error["details"], closed(DETAILS[kind]))


def test_the_validator_used_here_can_refuse() -> None:
    """A field too many, a field too few, a wrong type."""
    schema = DOCUMENT["paths"]["/v1/async/status"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    golden = json.loads((GOLDEN / "status.json").read_text("utf-8"))

    for wrong in (
        golden | {"more": 1},
        {"queuedTasks": 1},
        golden | {"queuedTasks": "1"},
        golden | {"queuedTasks": -1},
    ):
        with pytest.raises(jsonschema.ValidationError):
            check(wrong, schema)


def check(value: Any, schema: Any) -> None:
    """Raise unless the value fits."""
    jsonschema.validate(value, {"components": DOCUMENT["components"], **schema}, jsonschema.Draft202012Validator)


def _resolved(part: Any) -> Any:
    """What a reference into the document leads to; anything else is itself."""
    reference = part.get("$ref")
    if reference is None:
        return part
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found
