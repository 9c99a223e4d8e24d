"""``GET /v1/countries`` and ``/v1/states``: reference lists that the operator sets. Clients use them to test their
keys.

The lists have no meaning for fairlane. Without a file they are empty, and the routes still answer.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec import Struct

from fairlane import wire
from fairlane.api.http import Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.errors import SetupError
from fairlane.model.keys import Caller


class CountryState(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a country."""

    code: str
    name: str


class ReferenceLists(Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the operator's file."""

    countries: Sequence[str] = ()
    states: Mapping[str, Sequence[CountryState]] = {}
    """The states of each country."""


def read_lists(path: str | None) -> ReferenceLists:
    """Return the lists in this file, or empty ones if there is none.

    Raises:
        SetupError: it cannot be read.
    """
    if path is None:
        return ReferenceLists()
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=ReferenceLists)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"FAIRLANE_REFERENCE_LISTS names {path}, which cannot be used: {error}") from error


class ListEndpoints:
    """The endpoints of the lists that were read at the start."""

    def __init__(self, lists: ReferenceLists) -> None:
        self._countries = Answer(wire.countries_body(lists.countries))
        bodies = {country: _answer(states) for country, states in lists.states.items()}
        self._states: Mapping[str, Answer] = bodies
        self._all_states = _answer([state for states in lists.states.values() for state in states])
        self._no_states = _answer([])

    async def countries(self, request: Request, caller: Caller) -> Answer:
        """Return all countries, ignoring the query."""
        return self._countries

    async def states(self, request: Request, caller: Caller) -> Answer:
        """Return the states of the requested country, or without one all states."""
        country = request.option("country")
        return self._all_states if country is None else self._states.get(country, self._no_states)

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/countries",
            countries,
            id="list_countries",
            tag="lists",
            summary="The countries that payloads may name",
            description="Codes, as the operator set them; none if there are no such payloads. `model` is ignored.",
            query={"model": {"type": "string"}},
            answer=wire.CountriesBody,
            examples=("countries",),
        ),
        Route(
            "GET",
            "/v1/states",
            states,
            id="list_states",
            tag="lists",
            summary="The states of a country, or of all of them",
            query={"country": {"type": "string"}},
            answer=wire.StatesBody,
            examples=("states",),
        ),
    )


def _answer(states: Sequence[CountryState]) -> Answer:
    return Answer(wire.states_body([(state.code, state.name) for state in states]))
