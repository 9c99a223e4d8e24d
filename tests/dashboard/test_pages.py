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
    "POST `${path}/keys`",
    'POST "/admin/v1/plans"',
    "PATCH path(name",
}
LINES_BEFORE = 3


def test_every_change_with_consequences_asks_first() -> None:
    """A question stands right before each request that changes something, unless it is known to be harmless."""
    asked, unasked, unused = [], [], set(HARMLESS)
    for entry in ASSETS.iterdir():
        if not entry.name.endswith(".js") or entry.name == "api.js":
            continue
        lines = entry.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            for method, path in re.findall(r'ask\("([A-Z]+)", ([^,)]+)', line):
                change = f"{method} {path}"
                if any("confirm(" in one for one in lines[max(0, number - LINES_BEFORE) : number + 1]):
                    asked.append(change)
                elif change in HARMLESS:
                    unused.discard(change)
                else:
                    unasked.append(f"{entry.name}:{number + 1} {change}")

    assert unasked == []
    assert unused == set()
    assert len(asked) == 19


STILL = {
    "table(`${several(found.organizations",  # a recount
}
"""Tables of the operators' pages that are read once, or when a button is clicked."""
OPERATORS = (
    "account", "anytask", "anytasks", "bulk", "failures", "hosts", "installation", "lanes", "operator", "organizations",
    "plans", "trail", "upkeep",
)  # fmt: skip


def test_rows_of_live_lists_are_found_by_a_key() -> None:
    """A row that is still there keeps its elements, and with them the reader's focus and selection."""
    lists, without, unused = 0, [], set(STILL)
    for name in OPERATORS:
        text = ASSETS.joinpath(f"{name}.js").read_text("utf-8")
        for call in re.finditer(r"\b(?:rowsOf|table)\(", text):
            whole = arguments(text, call.start())
            lists += 1
            still = {one for one in STILL if whole.startswith(one)}
            unused -= still
            if not still and "key: (" not in whole:
                without.append(f"{name}.js: {whole[:60]}")

    assert without == []
    assert unused == set()
    assert lists >= 10


def arguments(text: str, start: int) -> str:
    """The call that begins here, to its closing parenthesis."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0 and text[at] == ")":
            return text[start : at + 1]
    raise AssertionError(f"the call at {start} has no end")
