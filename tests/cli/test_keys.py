"""``fairlane keys``, without a server."""

import re
from pathlib import Path

import pytest

from tests.cli.harness import Command

SEED_KEY = "sk_live_1234567890abcdef1234567890abcdef"


@pytest.fixture(autouse=True)
def acme(fairlane: Command) -> str:
    """The organization that owns the keys."""
    assert fairlane("organizations", "create", "acme").code == 0
    return "acme"


def test_a_made_key_is_shown_once(fairlane: Command) -> None:
    """The secret is in the answer to create and nowhere afterwards."""
    created = fairlane("keys", "create", "acme", "--name", "laptop", "--json")

    secret = created.document["value"]
    listed = fairlane("keys", "list", "acme", "--json")
    assert re.fullmatch(r"sk_live_[0-9a-f]{32}", secret)
    assert secret not in listed.out
    assert [(key["name"], key["last4"]) for key in listed.document["keys"]] == [("laptop", secret[-4:])]


def test_people_are_told_to_keep_the_key(fairlane: Command) -> None:
    """The key is on stdout, the advice on stderr, so that the output can be piped."""
    ran = fairlane("keys", "create", "acme")

    assert "sk_live_" in ran.out
    assert "cannot be shown again" in ran.err
    assert "sk_live_" not in ran.err


def test_a_key_of_ones_own_choice_is_imported(fairlane: Command) -> None:
    """The documentation's literal key can be made to work."""
    created = fairlane("keys", "create", "acme", "--value", SEED_KEY, "--json")

    assert created.code == 0
    assert created.document["value"] == SEED_KEY


def test_a_key_is_read_from_standard_input(fairlane: Command) -> None:
    """``-`` keeps the key out of the shell's history."""
    created = fairlane("keys", "create", "acme", "--value", "-", "--json", stdin=f"{SEED_KEY}\n")

    assert created.document["value"] == SEED_KEY


def test_the_secret_is_not_in_the_database(fairlane: Command, tmp_path: Path) -> None:
    """Only a digest is stored, in no file of the database."""
    fairlane("keys", "create", "acme", "--value", SEED_KEY)

    stored = b"".join(file.read_bytes() for file in tmp_path.glob("fairlane.db*"))
    assert b"acme" in stored
    assert SEED_KEY.encode() not in stored


def test_the_same_key_twice_is_refused(fairlane: Command) -> None:
    """A key speaks for one organization only."""
    fairlane("keys", "create", "acme", "--value", SEED_KEY)
    fairlane("organizations", "create", "globex")

    ran = fairlane("keys", "create", "globex", "--value", SEED_KEY)

    assert ran.code == 1
    assert "already exists" in ran.err
    assert SEED_KEY not in ran.err


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (("create", "acme", "--value", "sk_live_short"), "", 1),
        (("create", "acme", "--value", "-"), "", 2),
        (("create", "nobody"), "", 1),
        (("list", "nobody"), "", 1),
        (("revoke", "0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11"), "", 1),
        (("create",), "", 2),
    ],
)
def test_what_cannot_be_done_has_a_code_and_a_reason(
    fairlane: Command, arguments: tuple[str, ...], stdin: str, code: int
) -> None:
    """A key that does not fit the rule, no key at all, nobody's key."""
    ran = fairlane("keys", *arguments, stdin=stdin)

    assert (ran.code, ran.out) == (code, "")
    assert ran.err


def test_revoking_marks_the_key(fairlane: Command) -> None:
    """A revoked key stays listed, with the time."""
    created = fairlane("keys", "create", "acme", "--json").document

    revoked = fairlane("keys", "revoke", created["id"], "--json")

    listed = fairlane("keys", "list", "acme", "--json").document["keys"]
    assert revoked.code == 0
    assert [key["revoked_at"] for key in listed] == [revoked.document["revoked_at"]]
    assert revoked.document["revoked_at"] is not None


@pytest.mark.parametrize(("kind", "begins"), [("worker", "wk_live_"), ("admin", "ak_live_")])
def test_workers_and_operators_have_keys_of_their_own(fairlane: Command, kind: str, begins: str) -> None:
    """Made, listed under their kind alone, revoked by id like any other."""
    created = fairlane("keys", "create", f"--{kind}", "box", "--json").document
    other = "admin" if kind == "worker" else "worker"

    assert created["value"].startswith(begins)
    assert (created["kind"], created["name"]) == (kind, "box")
    assert fairlane("keys", "list", f"--{other}", "--json").document == {"keys": []}
    assert fairlane("keys", "revoke", created["id"]).code == 0
    [listed] = fairlane("keys", "list", f"--{kind}", "--json").document["keys"]
    assert listed["revoked_at"] is not None
    assert "value" not in listed


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "acme", "--worker", "box"),
        ("create", "--worker", "box", "--admin", "box"),
        ("create", "--worker", "box", "--name", "other"),
        ("list",),
        ("list", "--worker", "--admin"),
        ("list", "acme", "--admin"),
    ],
)
def test_a_key_has_one_owner(fairlane: Command, arguments: tuple[str, ...]) -> None:
    """An organization, workers or operators; everything else is wrong usage."""
    ran = fairlane("keys", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err
