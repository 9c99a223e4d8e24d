"""Payload types: what a handler's hint accepts, as a strict decoder that is created once.

The server uses it when it accepts a task, the worker before each attempt. A payload is always a JSON object and types
are strict: ``"5"`` is not an integer. pydantic is never imported here; its classes carry their own validator.
"""

import dataclasses
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_origin, is_typeddict

import msgspec

from fairlane.errors import AppError, ValidationRefused

logger = logging.getLogger(__name__)

Decode = Callable[[bytes | str], object]
"""Turns the text of a JSON object into a handler's payload, or raises :class:`ValidationRefused`."""

ROOT = "payload"

_AT = re.compile(r"(?P<message>.*) - at (?:`key` in )?`(?P<path>\$[^`]*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>[^\]]*)\]")


def decoder_for(hint: object, place: str) -> Decode:
    """Return the decoder of one payload type. ``place`` (file:line) is named if there cannot be one.

    A hint is a msgspec Struct, dataclass, TypedDict, attrs class, pydantic model or dataclass, ``dict``, a tagged union
    of Structs, or nothing (any JSON object).

    Raises:
        AppError: values of this type cannot be read from a JSON object.
    """
    if hasattr(hint, "__pydantic_validator__"):
        return _pydantic_decoder(hint, place)
    payload_type = _object_type(hint, place)
    try:
        unreadable = next(_unreadable(msgspec.inspect.type_info(payload_type)), None)
        decoder = msgspec.json.Decoder(payload_type, strict=True)
    except NameError as error:
        raise AppError(
            f"{place}: the payload type {_name(hint)} has a hint that cannot be resolved: {error}. "
            "Define the classes it names in the module, not inside a function"
        ) from error
    except Exception as error:
        raise AppError(f"{place}: the payload type {_name(hint)} cannot be decoded: {error}") from error
    if unreadable is not None:
        raise AppError(
            f"{place}: the payload type {_name(hint)} cannot be decoded: values of {_name(unreadable)} in it cannot be "
            "read from JSON"
        )
    return _msgspec_decode(decoder)


def schema_of(hint: object, reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON Schema of a payload type that has a decoder, and the schemas that it refers to by name.

    ``reference`` is the form of a reference, such as ``#/components/schemas/PAGE.{name}``.
    """
    try:
        if hasattr(hint, "__pydantic_validator__"):
            template = reference.replace("{name}", "{model}")
            schema = dict(sys.modules["pydantic"].TypeAdapter(hint).json_schema(ref_template=template))
            return schema, schema.pop("$defs", {})
        [schema], definitions = msgspec.json.schema_components((_object_type(hint, ""),), ref_template=reference)
    except Exception:
        # An author's type may decode correctly and still have no schema; some validators do not.
        logger.warning("payload.undescribed", extra={"payload_type": _name(hint)}, exc_info=True)
        return {"type": "object"}, {}
    return schema, definitions


# msgspec -------------------------------------------------------------------------------------------------------------


def _msgspec_decode(decoder: "msgspec.json.Decoder[Any]") -> Decode:
    def decode(text: bytes | str) -> object:
        try:
            return decoder.decode(text)
        except msgspec.ValidationError as error:
            raise ValidationRefused(details=[_place_of(str(error))]) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValidationRefused.at(ROOT, f"is not JSON that can be read: {error}") from error
        except Exception as error:
            raise _unforeseen(error) from error

    return decode


def _place_of(text: str) -> dict[str, str]:
    """Convert msgspec's one line (``Expected `int`, got `str` - at `$.a[0]```) to a field and a message."""
    found = _AT.fullmatch(text)
    message, path = (found["message"], found["path"]) if found else (text, "$")
    field = ROOT + "".join(_steps(path))
    if missing := _MISSING.fullmatch(message):
        return {"field": f"{field}.{missing['name']}", "message": "is required"}
    if unknown := _UNKNOWN.fullmatch(message):
        return {"field": f"{field}.{unknown['name']}", "message": "is not a known field"}
    return {"field": field, "message": message}


def _steps(path: str) -> Iterator[str]:
    for step in _STEP.finditer(path[1:]):
        # msgspec writes [...] for "some key of this mapping".
        name = step["name"] or step["index"]
        yield ".*" if name == "..." else f".{name}"


def _object_type(hint: object, place: str) -> Any:
    """Return the hint as a type that accepts only JSON objects."""
    if hint in (dict, Any, object, Mapping):
        return dict[str, Any]
    origin = get_origin(hint)
    members = get_args(hint) if _is_union(origin) else (hint,)
    if all(_reads_objects(member) for member in members):
        return hint
    raise AppError(
        f"{place}: the payload type {_name(hint)} cannot be decoded from a JSON object. Use a msgspec Struct, a "
        "dataclass, a TypedDict, an attrs class, a pydantic model or dict"
    )


def _is_union(origin: object) -> bool:
    return getattr(origin, "__name__", "") in ("Union", "UnionType")


def _reads_objects(hint: object) -> bool:
    origin = get_origin(hint) or hint
    if not isinstance(origin, type):
        return False
    if issubclass(origin, msgspec.Struct):
        return not origin.__struct_config__.array_like
    return (
        dataclasses.is_dataclass(origin)
        or is_typeddict(origin)
        or hasattr(origin, "__attrs_attrs__")
        or (issubclass(origin, dict) and bool(get_args(hint) or origin is dict))
        or origin is Mapping
    )


def _unreadable(root: msgspec.inspect.Type) -> Iterator[object]:
    """Yield classes inside a type that msgspec cannot read."""
    seen: set[int] = set()
    ahead: list[object] = [root]
    while ahead:
        current = ahead.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, msgspec.inspect.CustomType):
            yield current.cls
        elif isinstance(current, tuple):
            ahead.extend(current)
        elif isinstance(current, msgspec.inspect.Type | msgspec.inspect.Field):
            ahead.extend(getattr(current, name) for name in current.__struct_fields__ if name != "cls")


def _name(hint: object) -> str:
    return getattr(hint, "__qualname__", None) or str(hint)


# pydantic ------------------------------------------------------------------------------------------------------------


def _pydantic_decoder(hint: Any, place: str) -> Decode:
    """Return a decoder made from the class's own validator, without importing pydantic."""
    refusal: type[Exception] = sys.modules["pydantic_core"].ValidationError
    if hasattr(hint, "model_rebuild"):
        try:
            hint.model_rebuild()
        except Exception as error:
            raise AppError(f"{place}: the payload type {_name(hint)} cannot be decoded: {error}") from error
    validate = hint.__pydantic_validator__.validate_json

    def decode(text: bytes | str) -> object:
        try:
            return validate(text, strict=True)
        except refusal as error:
            raise ValidationRefused(details=_pydantic_places(error)) from error
        except Exception as error:
            raise _unforeseen(error) from error

    return decode


def _pydantic_places(error: Any) -> list[dict[str, str]]:
    return [
        {"field": ".".join([ROOT, *map(str, found["loc"])]), "message": found["msg"]}
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _unforeseen(error: Exception) -> ValidationRefused:
    """Return a refusal if the author's own check failed. Its text may contain anything, so the caller only learns its
    type.
    """
    return ValidationRefused.at(ROOT, f"was refused by its type ({type(error).__name__})")
