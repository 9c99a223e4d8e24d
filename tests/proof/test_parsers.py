"""A small share of the inputs of ``make proof`` for everything that reads bytes of strangers, and two controls."""

import json

import pytest

from fairlane.api import reader
from fairlane.webhooks import guard
from tests.proof.parsers import READERS, look

SHARE = range(1, 300)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_understands_or_refuses(name: str) -> None:
    """It never raises anything else, and never accepts what another reader reads differently."""
    assert [found for number in SHARE if (found := look(name, number))] == []


def test_a_reader_that_keeps_the_last_of_two_keys_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control for JSON."""
    monkeypatch.setattr(reader, "_decoder", json.JSONDecoder())

    assert any(look("json", number) for number in SHARE)


def test_a_guard_that_lets_any_address_pass_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control for URLs."""
    monkeypatch.setattr(guard, "_is_allowed_address", lambda address, reach: True)

    assert any(look("url", number) for number in SHARE)
