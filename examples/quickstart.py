"""The smallest application. Serve it with ``fairlane serve examples/quickstart.py:app``."""

import msgspec

from fairlane import Fairlane

app = Fairlane()


class Text(msgspec.Struct):
    """What a caller sends as ``payload``."""

    text: str


@app.task("COUNT_WORDS", timeout=30, attempts=3)
async def count_words(text: Text) -> dict[str, int]:
    """Count the words and characters of a text."""
    return {"words": len(text.text.split()), "characters": len(text.text)}
