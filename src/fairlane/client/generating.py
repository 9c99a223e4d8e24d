"""Writes a typed Python module from a server's ``/openapi.json``: a class for each payload, and its task types.

For ``fairlane client generate``. What stands in the description is data: no text of it becomes code by itself.
"""

import json
import keyword
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import httpx2

from fairlane.client.errors import ClientError
from fairlane.connecting import reason_of

Style = Literal["struct", "pydantic"]

SECONDS = 30.0
TYPE_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
REFERENCE = "#/components/schemas/"
PAYLOAD = "Payload."

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_MOMENTS = {"date-time": "datetime.datetime", "date": "datetime.date"}
_HEADS: dict[Style, str] = {
    "struct": """import msgspec

from fairlane.client import TaskType
""",
    "pydantic": """import pydantic

from fairlane.client import TaskType


class _Payload(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True, serialize_by_alias=True)

    @pydantic.model_serializer(mode="wrap")
    def _only_given(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A field that was not given is left to the server's default.
        fields = type(self).model_fields
        given = {fields[name].alias or name for name in self.model_fields_set}
        given |= {fields[name].alias or name for name in fields if fields[name].default is not None}
        return {name: value for name, value in write(self).items() if name in given}
""",
}


def fetch_description(url: str) -> Any:
    """Return the description that a server gives.

    Raises:
        ClientError: it gives none.
    """
    address = f"{url.rstrip('/').removesuffix('/v1')}/openapi.json"
    try:
        answer = httpx2.get(address, timeout=SECONDS)
        return answer.raise_for_status().json()
    except httpx2.HTTPStatusError as error:
        raise ClientError(f"{address} answers {error.response.status_code}: check the address") from error
    except httpx2.TransportError as error:
        raise ClientError(f"no answer to GET {address}: {reason_of(error)}; start the server, or correct it") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, ValueError) as error:
        raise ClientError(f"{address} gives no description: check the address") from error


def module_text(description: Any, style: Style) -> str:
    """Return the source of a module with the payloads and the task types of a description.

    Raises:
        ClientError: it is not a description of fairlane's API.
    """
    try:
        schemas = dict(description["components"]["schemas"])
        names = sorted(schemas["Submission"]["discriminator"]["mapping"])
    except (KeyError, TypeError, ValueError) as error:
        raise ClientError("this is not the /openapi.json of a fairlane server") from error
    if unfit := [name for name in names if not TYPE_NAME.fullmatch(name)]:
        raise ClientError(f"{unfit[0]!r} is not the name of a task type")
    return _Module(schemas, style).text(names)


class _Module:
    def __init__(self, schemas: Mapping[str, Any], style: Style) -> None:
        self._schemas = schemas
        self._style = style
        self._classes: dict[str, str] = {}
        """The name of the class or alias of each schema that a payload consists of."""

    def text(self, names: list[str]) -> str:
        for name in names:
            self._collect(f"{PAYLOAD}{name}")
        classes = [self._class(title) for title in self._classes if _has_fields(self._schemas[title])]
        aliases = [
            f"{self._classes[title]} = {self._annotation(self._schemas[title])}"
            for title in reversed(self._classes)  # what an alias consists of was collected after it
            if not _has_fields(self._schemas[title])
        ]
        types = [f'{name} = TaskType[{self._classes[f"{PAYLOAD}{name}"]}, dict[str, Any]]("{name}")' for name in names]
        body = "\n\n\n".join([*classes, "\n".join([*aliases, *types])])
        imports = "import datetime\n" if "datetime." in body else ""
        typing = "Any, Literal" if "Literal[" in body else "Any"
        return (
            '"""Task types and their payloads. Written by `fairlane client generate`: change the server instead."""\n\n'
            f"from __future__ import annotations\n\n{imports}from typing import {typing}\n\n{_HEADS[self._style]}\n\n"
            f"{body}\n"
        )

    def _collect(self, title: str) -> None:
        if title in self._classes or title not in self._schemas:
            return
        wanted = _class_name(title)
        while wanted in self._classes.values():
            wanted += "_"
        self._classes[title] = wanted
        for other in _references(self._schemas[title]):
            self._collect(other)

    def _class(self, title: str) -> str:
        schema = self._schemas[title]
        struct = self._style == "struct"
        lines = [f"class {self._classes[title]}({'msgspec.Struct, kw_only=True' if struct else '_Payload'}):"]
        if described := str(schema.get("description", "")).strip():
            text = " ".join(described.split()).replace("\\", "\\\\").replace('"', "'")
            lines += [f'    """{text}"""', ""]
        lines += [f"    {line}" for line in self._fields(schema)] or ["    pass"]
        return "\n".join(lines)

    def _fields(self, schema: Mapping[str, Any]) -> Iterator[str]:
        struct = self._style == "struct"
        for given, part in schema["properties"].items():
            name = _identifier(given)
            kind = self._annotation(part)
            options = [] if name == given else [f"{'name' if struct else 'alias'}={_literal(given)}"]
            if "const" in part:
                options.insert(0, f"default={_literal(part['const'])}")
            elif given not in schema.get("required", ()):
                kind = f"msgspec.UnsetType | {kind}" if struct else f"{kind.removesuffix(' | None')} | None"
                options.insert(0, f"default={'msgspec.UNSET' if struct else 'None'}")
            if not options:
                yield f"{name}: {kind}"
            elif len(options) == 1 and options[0].startswith("default="):
                yield f"{name}: {kind} = {options[0].removeprefix('default=')}"
            else:
                yield f"{name}: {kind} = {'msgspec.field' if struct else 'pydantic.Field'}({', '.join(options)})"

    def _annotation(self, schema: Any) -> str:
        """Return the type of a schema's values; Any where Python has no such type."""
        match schema:
            case {"$ref": str(reference)}:
                return self._classes.get(reference.removeprefix(REFERENCE), "Any")
            case {"const": value}:
                return f"Literal[{_literal(value)}]" if isinstance(value, str | int | bool) else "Any"
            case {"enum": [*values]} if values and all(isinstance(value, str | int | None) for value in values):
                return f"Literal[{', '.join(map(_literal, values))}]"
            case {"anyOf": [*options]} | {"oneOf": [*options]} | {"allOf": [_] as options}:
                return " | ".join(dict.fromkeys(map(self._annotation, options)))
            case {"type": [*kinds]}:
                return " | ".join(dict.fromkeys(self._annotation({**schema, "type": kind}) for kind in kinds))
            case {"type": "string", "format": str(form)} if form in _MOMENTS:
                return _MOMENTS[form]
            case {"type": str(kind)} if kind in _SCALARS:
                return _SCALARS[kind]
            case {"type": "array", **rest}:
                return f"list[{self._annotation(rest.get('items'))}]"
            case {"type": "object", **rest}:
                return f"dict[str, {self._annotation(rest.get('additionalProperties'))}]"
        return "Any"


def _literal(value: object) -> str:
    """Return a value of JSON as Python writes it, text in double quotes."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _has_fields(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "object" and bool(schema.get("properties"))


def _references(schema: Any) -> Iterator[str]:
    match schema:
        case {"$ref": str(reference), **rest}:
            yield reference.removeprefix(REFERENCE)
            yield from _references(rest)
        case dict():
            for name, part in schema.items():
                if name not in ("discriminator", "default", "examples", "const", "enum"):
                    yield from _references(part)
        case list():
            for part in schema:
                yield from _references(part)


def _class_name(title: str) -> str:
    """Return ``CountWordsPayload`` for ``Payload.COUNT_WORDS``, ``PagePart`` for ``PAGE.Part``."""
    if title.startswith(PAYLOAD):
        title = f"{title.removeprefix(PAYLOAD)}.Payload"
    task_type, _, part = title.partition(".")
    name = "".join(word.capitalize() for word in task_type.split("_")) + re.sub(r"\W", "_", part, flags=re.ASCII)
    return name if name.isidentifier() else f"Type_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"


def _identifier(name: str) -> str:
    """Return a property's name as one of a field in Python."""
    made = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not made or made[0].isdigit() or made.startswith("_"):
        made = f"field_{made.lstrip('_')}"
    return f"{made}_" if keyword.iskeyword(made) else made
