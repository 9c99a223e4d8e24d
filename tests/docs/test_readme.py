"""The README's code is the code that runs."""

import json
import re
from pathlib import Path

from fairlane.handlers import load_app

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
