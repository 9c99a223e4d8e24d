"""The README's code is the code that runs."""

import json
import re
from pathlib import Path
from typing import Any

from fairlane.handlers import load_app
from fairlane.testing import Engine

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_application_shown_is_the_example() -> None:
    """What the README shows is examples/quickstart.py, but for its first lines."""
    shown = _blocks("python")[0]

    assert (ROOT / "examples" / "quickstart.py").read_text().endswith(shown)


def test_the_submit_line_shown_fits_the_example() -> None:
    """The curl line's body names a task type of the example and a payload that it takes."""
    body = json.loads(re.search(r"-d '(.*)'", README).group(1))  # type: ignore[union-attr]
    app = load_app(f"{ROOT / 'examples' / 'quickstart.py'}:app")

    app.task_types[body["taskType"]].decode(json.dumps(body["payload"]).encode())


def test_the_client_shown_speaks_to_the_example(tmp_path: Path) -> None:
    """Its program, with nothing changed but the address and the key, brings the result."""
    shown = _blocks("python")[1]
    with Engine(load_app(f"{ROOT / 'examples' / 'quickstart.py'}:app")) as engine:
        names = {"Client": lambda *_: engine.organization("acme")}
        said: list[object] = []

        exec(shown.replace("from fairlane.client import Client", ""), names | {"print": said.append})

    assert said == [{"words": 6, "characters": 18}]


def test_the_test_shown_passes() -> None:
    """As it stands there."""
    names: dict[str, Any] = {}

    exec(_blocks("python")[2], names)
    names["test_words_are_counted"]()
