"""The client's page names everything there is, and its code runs."""

import inspect
import re
import time
from pathlib import Path
from typing import Any

from fairlane import client as sdk
from fairlane.client import Client
from fairlane.webhooks.signing import new_secret, signatures

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "client.md").read_text("utf-8")
BODY = (
    b'{"task":{"id":"t1","taskType":"PAGE","status":"COMPLETED","priority":1,"createdAt":"2025-11-10T15:00:00.000Z"},'
    b'"credits":{"creditsToCharge":1},"response":{}}'
)


def blocks() -> list[str]:
    """The page's Python."""
    return re.findall(r"(?<!-->\n)```python\n(.*?)```", PAGE, re.DOTALL)


def named(block: int) -> dict[str, Any]:
    """The names that a block defines."""
    names: dict[str, Any] = {}
    exec(blocks()[block], names)
    return names


def test_every_public_name_is_on_the_page() -> None:
    """Each name that can be imported, each method, each exception."""
    methods = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]

    missing = [name for name in sdk.__all__ if f"`{name}" not in PAGE]
    missing += [name for name in methods if f"| `{name}(" not in PAGE]

    assert missing == []


def test_everything_public_is_described() -> None:
    """A docstring for each name, each method and each property."""
    undescribed = [
        f"{name}.{member}"
        for name in sdk.__all__
        if inspect.isclass(found := getattr(sdk, name))
        for member, value in vars(found).items()
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
        if not inspect.getdoc(value)
    ]

    assert undescribed == []
    assert [name for name in sdk.__all__ if name != "Reference" and not inspect.getdoc(getattr(sdk, name))] == []


def test_the_receiver_shown_takes_what_is_ours_and_nothing_else() -> None:
    """With what fairlane really signs, now."""
    receive, secret = named(3)["receive"], new_secret()
    headers = signatures([secret], task_id="t1", attempt=1, body=BODY, now_ms=int(time.time() * 1_000))

    assert receive(secret, headers, BODY) == 200
    assert receive(secret, headers, BODY + b" ") == 400
