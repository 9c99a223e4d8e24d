"""What the pages' programs must do, read from their text: the browser's tests see only the paths that they take."""

import re
from importlib.resources import files

ASSETS = files("fairlane.dashboard").joinpath("assets")
HARMLESS = {
    'POST "/login"',
    'POST "/enter"',
    'DELETE "/session"',
    'POST "/view"',  # It shows, and changes nothing.
    'POST "/v1/alerts"',  # A form that was filled in says what it does.
    'POST "/v1/webhooks/test"',
    'POST "/access/keys"',
}
LINES_BEFORE = 3


def test_every_change_with_consequences_asks_first() -> None:
    """A question stands right before each request that changes something, unless it is known to be harmless."""
    asked, unasked = [], []
    for entry in ASSETS.iterdir():
        if not entry.name.endswith(".js") or entry.name == "api.js":
            continue
        lines = entry.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            for method, path in re.findall(r'ask\("([A-Z]+)", ([^,)]+)', line):
                change = f"{method} {path}"
                if any("confirm(" in one for one in lines[max(0, number - LINES_BEFORE) : number + 1]):
                    asked.append(change)
                elif change not in HARMLESS:
                    unasked.append(f"{entry.name}:{number + 1} {change}")

    assert unasked == []
    assert len(asked) == 13
