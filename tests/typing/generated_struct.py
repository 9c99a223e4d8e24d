"""Task types and their payloads. Written by `fairlane client generate`: change the server instead."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fairlane.client import TaskType


class MailPayload(msgspec.Struct, kw_only=True):
    """A mail."""

    sender: msgspec.UnsetType | str = msgspec.UNSET
    size: msgspec.UnsetType | int | float = msgspec.UNSET


class OrderPayload(msgspec.Struct, kw_only=True):
    """An order."""

    number: int
    note: msgspec.UnsetType | str | None = msgspec.UNSET
    from_: msgspec.UnsetType | str = msgspec.field(default=msgspec.UNSET, name="from")


class ShapeCircle(msgspec.Struct, kw_only=True):
    """A shape."""

    type: Literal["circle"] = "circle"
    radius: float


class ShapeSquare(msgspec.Struct, kw_only=True):
    """Another one."""

    type: Literal["square"] = "square"
    side_length: float = msgspec.field(name="side-length")


class SitePayload(msgspec.Struct, kw_only=True):
    """Pages, which may lead to more pages."""

    pages: list[SitePage]
    below: msgspec.UnsetType | SitePayload | None = msgspec.UNSET


class SitePage(msgspec.Struct, kw_only=True):
    """A page to 'fetch'."""

    url: str
    depth: msgspec.UnsetType | int = msgspec.UNSET
    at: msgspec.UnsetType | str | None = msgspec.UNSET
    labels: msgspec.UnsetType | dict[str, str] = msgspec.UNSET
    kind: msgspec.UnsetType | Literal["html", "text"] = msgspec.UNSET


ShapePayload = ShapeCircle | ShapeSquare
AnyPayload = dict[str, Any]
ANY = TaskType[AnyPayload, dict[str, Any]]("ANY")
MAIL = TaskType[MailPayload, dict[str, Any]]("MAIL")
ORDER = TaskType[OrderPayload, dict[str, Any]]("ORDER")
SHAPE = TaskType[ShapePayload, dict[str, Any]]("SHAPE")
SITE = TaskType[SitePayload, dict[str, Any]]("SITE")
