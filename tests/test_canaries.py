"""The search for secrets finds those that are there."""

from pathlib import Path

import pytest

from fairlane.api.keys import new_key
from fairlane.model.keys import KeyKind
from fairlane.webhooks.signing import new_secret
from tests.canaries import canaries_in, files_with


@pytest.mark.parametrize("secret", [*map(new_key, KeyKind), new_secret()], ids=[*KeyKind, "webhook"])
def test_a_secret_in_a_file_is_found(secret: str, tmp_path: Path) -> None:
    """The name of the file and that of the secret are told."""
    (tmp_path / "server.log").write_text(f"server.started token={secret}\n")

    assert [*files_with([tmp_path], {"one": secret}, "*.log")] == ["server.log: one"]
    assert [*files_with([tmp_path], {"other": new_secret()}, "*.log")] == []


def test_a_part_of_a_secret_is_found() -> None:
    """Half of its random characters give it away; its prefix and its last four do not."""
    key = new_key(KeyKind.ORGANIZATION)

    assert [*canaries_in(f"sk_live_…{key[-4:]}".encode(), {"key": key})] == []
    assert [*canaries_in(f"starts with {key[8:24]}".encode(), {"key": key})] == ["key"]
