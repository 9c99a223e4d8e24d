"""``fairlane webhooks secrets``, without a server and with one."""

import re
from pathlib import Path

import pytest

from tests.cli.harness import Command, RunningServer

SECRET = "whsec_test"


@pytest.fixture(autouse=True)
def acme(fairlane: Command) -> str:
    """The organization whose webhooks are signed."""
    assert fairlane("organizations", "create", "acme").code == 0
    return "acme"


def test_a_made_secret_is_shown_once(fairlane: Command) -> None:
    """On stdout, with the advice on stderr; never again in a list or the audit."""
    created = fairlane("webhooks", "secrets", "create", "acme")

    found = re.search(r"whsec_[A-Za-z0-9+/]{32}", created.out)
    assert found is not None
    assert "cannot be shown again" in created.err
    listed = fairlane("webhooks", "secrets", "list", "acme", "--json")
    assert found[0] not in listed.out
    assert [one["last4"] for one in listed.document["webhook_secrets"]] == [found[0][-4:]]
    assert found[0][-4:] in fairlane("webhooks", "secrets", "list", "acme").out


def test_a_secret_is_imported(fairlane: Command) -> None:
    """Receivers that verify with one already need not change; - keeps it out of the shell's history."""
    flag = fairlane("webhooks", "secrets", "create", "acme", "--value", SECRET, "--json")
    piped = fairlane("webhooks", "secrets", "create", "acme", "--value", "-", "--json", stdin=f"{SECRET}2\n")

    assert (flag.document["value"], piped.document["value"]) == (SECRET, f"{SECRET}2")


def test_rotation_keeps_two(fairlane: Command) -> None:
    """The one before has an end a day away, unless told otherwise."""
    for _ in range(3):
        fairlane("webhooks", "secrets", "create", "acme", "--json")

    newest, before = fairlane("webhooks", "secrets", "list", "acme", "--json").document["webhook_secrets"]
    assert newest["expires_at"] is None
    assert before["expires_at"] == newest["created_at"] + 86_400_000

    fairlane("webhooks", "secrets", "create", "acme", "--overlap-hours", "0")
    assert len(fairlane("webhooks", "secrets", "list", "acme", "--json").document["webhook_secrets"]) == 1


def test_revoking_switches_off(fairlane: Command) -> None:
    """One, or all."""
    first = fairlane("webhooks", "secrets", "create", "acme", "--json").document
    fairlane("webhooks", "secrets", "create", "acme")

    one = fairlane("webhooks", "secrets", "revoke", "acme", "--id", first["id"], "--json")
    rest = fairlane("webhooks", "secrets", "revoke", "acme", "--json")

    assert [found["id"] for found in one.document["webhook_secrets"]] == [first["id"]]
    assert len(rest.document["webhook_secrets"]) == 1
    assert "not signed" in fairlane("webhooks", "secrets", "list", "acme").out
    assert "not signed" in fairlane("webhooks", "secrets", "revoke", "acme").out


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (("create", "acme", "--value", "secret"), "", 1),
        (("create", "acme", "--value", "-"), "", 2),
        (("create", "acme", "--overlap-hours", "721"), "", 2),
        (("create", "nobody"), "", 1),
        (("list", "nobody"), "", 1),
        (("revoke", "nobody"), "", 1),
        (("revoke", "acme", "--id", "0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11"), "", 1),
        (("create",), "", 2),
    ],
)
def test_what_cannot_be_done_has_a_code_and_a_reason(
    fairlane: Command, arguments: tuple[str, ...], stdin: str, code: int
) -> None:
    """A secret that does not fit, none at all, nobody's."""
    ran = fairlane("webhooks", "secrets", *arguments, stdin=stdin)

    assert (ran.code, ran.out) == (code, "")
    assert ran.err


def test_with_a_key_nothing_readable_lies_on_disk(
    fairlane: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In no file of the database."""
    monkeypatch.setenv("FAIRLANE_SECRET_KEY", "k" * 32)

    created = fairlane("webhooks", "secrets", "create", "acme", "--value", "whsec_unforgettable", "--json")

    assert created.code == 0
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("fairlane.db*"))
    assert b"unforgettable" not in stored
    assert b"sealed:" in stored


def test_a_running_server_answers_the_same(fairlane: Command, server: RunningServer) -> None:
    """Through its admin socket."""
    created = fairlane("webhooks", "secrets", "create", "acme", "--json")

    assert created.code == 0
    listed = fairlane("webhooks", "secrets", "list", "acme", "--json").document
    assert [one["id"] for one in listed["webhook_secrets"]] == [created.document["id"]]
