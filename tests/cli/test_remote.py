"""Commands that speak to a server elsewhere: the same, with an admin key."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.house import House
from tests.cli.harness import Command


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A server with a private listener, on a database that the commands know nothing of."""
    folder = tmp_path / "far"
    folder.mkdir()
    with House(folder, admin_port=0) as house:
        key = house.admin.post("/admin/v1/keys", json={"kind": "admin", "name": "far"}).json()["value"]
        monkeypatch.setenv("FAIRLANE_ADMIN_KEY", key)
        yield house


def test_an_operator_elsewhere_does_all_of_it(fairlane: Command, far: House) -> None:
    """By flag; what is done is done there, in the name of the key."""
    address = f"{far.server.admin_address}"
    assert fairlane("organizations", "create", "acme", "--server", address).code == 0
    made = fairlane("keys", "create", "acme", "--server", address, "--json").document

    assert made["value"].startswith("sk_live_")
    assert [one["name"] for one in far.admin.get("/admin/v1/organizations").json()["organizations"]] == ["acme"]
    [row] = fairlane("audit", "--limit", "1", "--server", address, "--json").document["audit"]
    assert row["actor"].startswith("admin key far (")
    assert fairlane("organizations", "erase", "acme", "--yes", "--server", address).code == 0
    month = fairlane("usage", "export", "--month", "2026-11", "--server", address)
    assert month.out.startswith("organization,month,")


def test_the_address_and_the_key_are_read_from_the_environment(
    fairlane: Command, far: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key from a file, too."""
    file = tmp_path / "key"
    file.write_text(f"{os.environ['FAIRLANE_ADMIN_KEY']}\n")
    monkeypatch.setenv("FAIRLANE_SERVER", f"{far.server.admin_address}/")
    monkeypatch.delenv("FAIRLANE_ADMIN_KEY")
    monkeypatch.setenv("FAIRLANE_ADMIN_KEY_FILE", str(file))

    assert fairlane("plans", "create", "far", "--slots", "3").code == 0

    assert far.admin.get("/admin/v1/plans/far").json()["slots"] == 3


@pytest.mark.parametrize("key", [None, "", "ak_live_" + "0" * 32, "sk_live_" + "0" * 32, "é"])
def test_without_the_right_key_nothing_is_done(
    fairlane: Command, far: House, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    """None, an unknown one, one of another kind: exit code 1, and a reason that does not show it."""
    monkeypatch.delenv("FAIRLANE_ADMIN_KEY") if key is None else monkeypatch.setenv("FAIRLANE_ADMIN_KEY", key)

    ran = fairlane("plans", "create", "far", "--slots", "3", "--server", f"{far.server.admin_address}")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err
    assert not key or key not in ran.err
    assert far.admin.get("/admin/v1/plans/far").status_code == 404


def test_where_nobody_serves_operators_there_is_a_reason(fairlane: Command, far: House, tmp_path: Path) -> None:
    """On the customers' port there is no such route; at a dead address there is no answer. No file is written there."""
    assert fairlane("plans", "list", "--server", far.server.address).code == 1
    assert fairlane("plans", "list", "--server", "http://127.0.0.1:9").code == 1
    assert fairlane("backup", str(tmp_path / "never.db"), "--server", f"{far.server.admin_address}").code == 1
    assert not (tmp_path / "never.db").exists()
