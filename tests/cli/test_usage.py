"""``fairlane usage export`` and ``organizations erase``, without a server and with one."""

import csv
import io

import pytest

from fairlane.rules.history import month_of
from tests.cli.harness import Command, RunningServer


@pytest.fixture(autouse=True)
def acme(fairlane: Command) -> None:
    """An organization."""
    assert fairlane("organizations", "create", "acme").code == 0


def test_a_month_is_exported(fairlane: Command) -> None:
    """CSV for bills, JSON for programs."""
    month = month_of(fairlane("organizations", "show", "acme", "--json").document["created_at"])

    text = fairlane("usage", "export", "--month", month)
    as_json = fairlane("usage", "export", "--month", month, "--json").document["usage"]

    [row] = csv.DictReader(io.StringIO(text.out))
    assert (row["organization"], row["submitted"], row["slot_seconds"]) == ("acme", "0", "0.000")
    assert [one["organization"] for one in as_json] == ["acme"]
    assert fairlane("usage", "export", "--month", month, "--format", "json").document["usage"][0].keys() == row.keys()
    assert fairlane("usage", "export", "--month", "nov").code == 1
    assert fairlane("usage", "export", "--month", month, "--organization", "nobody").code == 1


def test_types_have_a_row_each(fairlane: Command) -> None:
    """Here nothing has run; more than six hours are refused."""
    shown = fairlane("usage", "types", "--organization", "acme", "--since", "15m")

    assert shown.out == "Nothing was started.\n"
    assert fairlane("usage", "types", "--json").document["types"] == []
    assert fairlane("usage", "types", "--since", "7h").code == 1
    assert fairlane("usage", "types", "--organization", "nobody").code == 1


def test_erasing_has_to_be_meant(fairlane: Command) -> None:
    """Without --yes and without a terminal nothing happens."""
    refused = fairlane("organizations", "erase", "acme")

    assert (refused.code, refused.out) == (2, "")
    assert fairlane("organizations", "show", "acme").code == 0


def test_an_organization_is_erased(fairlane: Command) -> None:
    """For good; a second time there is nothing."""
    erased = fairlane("organizations", "erase", "acme", "--yes")

    assert (erased.code, erased.out.startswith("acme is erased")) == (0, True)
    assert fairlane("organizations", "show", "acme").code == 1
    assert fairlane("organizations", "erase", "acme", "--yes").code == 1


def test_an_organization_is_erased_through_a_running_server(fairlane: Command, server: RunningServer) -> None:
    """The same command."""
    assert fairlane("organizations", "erase", "acme", "--yes", "--json").document["done"] is True
    assert fairlane("organizations", "list", "--json").document == {"organizations": []}
