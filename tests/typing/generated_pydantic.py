"""Task types and their payloads. Written by `fairlane client generate`: change the server instead."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

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


class MailPayload(_Payload):
    """A mail."""

    sender: str | None = None
    size: int | float | None = None


class OrderPayload(_Payload):
    """An order."""

    number: int
    note: str | None = None
    from_: str | None = pydantic.Field(default=None, alias="from")


class ShapeCircle(_Payload):
    """A shape."""

    type: Literal["circle"] = "circle"
    radius: float


class ShapeSquare(_Payload):
    """Another one."""

    type: Literal["square"] = "square"
    side_length: float = pydantic.Field(alias="side-length")


class SitePayload(_Payload):
    """Pages, which may lead to more pages."""

    pages: list[SitePage]
    below: SitePayload | None = None


class SitePage(_Payload):
    """A page to 'fetch'."""

    url: str
    depth: int | None = None
    at: str | None = None
    labels: dict[str, str] | None = None
    kind: Literal["html", "text"] | None = None


ShapePayload = ShapeCircle | ShapeSquare
AnyPayload = dict[str, Any]
ANY = TaskType[AnyPayload, dict[str, Any]]("ANY")
MAIL = TaskType[MailPayload, dict[str, Any]]("MAIL")
ORDER = TaskType[OrderPayload, dict[str, Any]]("ORDER")
SHAPE = TaskType[ShapePayload, dict[str, Any]]("SHAPE")
SITE = TaskType[SitePayload, dict[str, Any]]("SITE")
