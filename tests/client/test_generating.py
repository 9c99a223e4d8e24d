"""``fairlane client generate``: the module has a class for each payload, and the server takes them.

The modules of ``tests/typing`` are its output, so that the type checker reads them. Run as a module, this writes them.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from fairlane.api.customers import customer_routes
from fairlane.api.openapi import document
from fairlane.client import ClientError
from fairlane.client.generating import Style, fetch_description, module_text
from fairlane.testing import Engine
from tests.client.scripted import Reply, ScriptedServer
from tests.typing import generated_pydantic, generated_struct
from tests.typing.shapes import app

TYPING = Path(__file__).parents[1] / "typing"
STYLES: tuple[Style, ...] = ("struct", "pydantic")


def description() -> Any:
    """What a server of the application says at ``/openapi.json``."""
    return document(customer_routes(app.task_types), app.task_types)


@pytest.mark.parametrize("style", STYLES)
def test_the_module_is_as_the_type_checker_read_it(style: Style) -> None:
    """``python -m tests.client.test_generating`` writes it after a change."""
    assert module_text(description(), style) == (TYPING / f"generated_{style}.py").read_text("utf-8")


@pytest.mark.parametrize("module", [generated_struct, generated_pydantic])
def test_payloads_of_the_module_are_accepted(module: Any) -> None:
    """Also without the fields that may be missing, which are left to the server's defaults."""
    page = module.SitePage
    payloads = [
        (module.SITE, module.SitePayload(pages=[page(url="x", depth=2), page(url="y", labels={"a": "b"})])),
        (module.SITE, module.SitePayload(pages=[], below=module.SitePayload(pages=[]))),
        (module.SHAPE, module.ShapeCircle(radius=1.5)),
        (module.SHAPE, module.ShapeSquare(side_length=2.0)),
        (module.MAIL, module.MailPayload(size=1.5)),
        (module.ORDER, module.OrderPayload(number=1, from_="shop")),
        (module.ANY, {"a": 1}),
    ]
    with Engine(app) as engine:
        acme = engine.organization("acme")
        for task_type, payload in payloads:
            acme.submit(task_type.name, payload)
        engine.run()
        assert {task.status for task in acme.tasks()} == {"COMPLETED"}


def test_fields_that_were_not_given_are_not_sent() -> None:
    """A null would be another value than the server's default."""
    struct, model = generated_struct.SitePage(url="x"), generated_pydantic.SitePage(url="x")

    assert json.loads(msgspec.json.encode(struct)) == model.model_dump(mode="json") == {"url": "x"}
    with pytest.raises(pydantic.ValidationError):
        generated_pydantic.OrderPayload(number="one")  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("style", STYLES)
def test_text_of_the_description_is_not_run(style: Style) -> None:
    """Names and descriptions of a server that is not trusted stay names and text."""
    evil = '"""\nimport os\nos.abort()\n\\'
    described = description()
    schemas = described["components"]["schemas"]
    schemas["Payload.MAIL"] = {
        "type": "object", "description": evil,
        "properties": {"a b": {"const": evil}, "class": {"enum": [evil]}, "_x": {"$ref": evil}, "1": {"type": evil}},
    }  # fmt: skip
    text = module_text(described, style)

    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, "generated", "exec"), names)
    assert names["MailPayload"].__doc__ == "''' import os os.abort() \\"
    schemas["Submission"]["discriminator"]["mapping"]["X = 1"] = ""
    with pytest.raises(ClientError, match="'X = 1' is not the name of a task type"):
        module_text(described, style)


def test_what_is_no_description_is_told() -> None:
    """From a file or a server."""
    others: list[Any] = [[], {}, {"openapi": "3.1.0", "components": {"schemas": {}}}]
    for other in others:
        with pytest.raises(ClientError, match=r"not the /openapi\.json of a fairlane server"):
            module_text(other, "struct")
    with ScriptedServer([Reply(404, {}), Reply(200, b"<html>")]) as server:
        for words in ("answers 404", "gives no description"):
            with pytest.raises(ClientError, match=words):
                fetch_description(server.address)
    with pytest.raises(ClientError, match="nothing listens there"):
        fetch_description("http://127.0.0.1:9")


if __name__ == "__main__":
    for style in STYLES:
        (TYPING / f"generated_{style}.py").write_text(module_text(description(), style), "utf-8")
