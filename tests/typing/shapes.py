"""An application with payloads of many shapes, for the modules that ``fairlane client generate`` writes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
import pydantic
from msgspec import Struct

from fairlane import Fairlane

app = Fairlane()


class Page(Struct, forbid_unknown_fields=True):
    """A page to "fetch"."""

    url: str
    depth: int = 1
    at: datetime | None = None
    """Not before then."""
    labels: dict[str, str] = {}
    kind: Literal["html", "text"] = "html"


class Site(Struct):
    """Pages, which may lead to more pages."""

    pages: list[Page]
    below: "Site | None" = None


class Circle(Struct, tag="circle"):
    """A shape."""

    radius: float


class Square(Struct, tag="square"):
    """Another one."""

    side: float = msgspec.field(name="side-length")


@dataclass
class Mail:
    """A mail."""

    sender: str = ""
    size: int | float = 0


class Order(pydantic.BaseModel):
    """An order."""

    number: int = pydantic.Field(ge=1)
    note: str | None = None
    from_: str = pydantic.Field(default="web", alias="from")


@app.task("SITE")
def site(payload: Site) -> None:
    """Nested Structs."""


@app.task("SHAPE")
def shape(payload: Circle | Square) -> None:
    """A tagged union."""


@app.task("MAIL")
def mail(payload: Mail) -> None:
    """A dataclass."""


@app.task("ORDER")
def order(payload: Order) -> None:
    """A pydantic model."""


@app.task("ANY")
def anything(payload: dict[str, Any]) -> None:
    """Any object."""
