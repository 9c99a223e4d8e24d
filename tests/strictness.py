"""Schemas without mercy: the contract lets answers gain fields, the tests do not."""

from typing import Any


def closed(schema: Any) -> Any:
    """A copy in which every object with listed properties has these and no others."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: closed(part) for name, part in schema.items()}
    if copy.get("type") == "object" and "properties" in copy:
        copy.setdefault("additionalProperties", False)
    return copy
