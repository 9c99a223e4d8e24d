"""What the gallery's server runs: types with the names and times of a product that works with pages and documents."""

import asyncio
from typing import Any

from fairlane import Context, Fairlane

app = Fairlane()


async def _work(payload: dict[str, Any], context: Context, unit: str) -> None:
    """Last as long as the payload says, in ten steps that are told."""
    seconds = payload.get("seconds", 0.3)
    for step in range(10):
        if seconds > 1:
            context.progress(step, 10, unit)
        await asyncio.sleep(seconds / 10)


@app.task("COMPARE_MODELS", timeout=90)
async def compare_models(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare some models."""
    await _work(payload, context, "prompts")
    return {"winner": "a", "scores": [0.91, 0.87]}


@app.task("SCRAPE_PAGE", attempts=1, timeout=60)
async def scrape_page(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Scrape a page, which does not work since the last release."""
    await _work(payload, context, "pages")
    if payload.get("broken"):
        raise ModuleNotFoundError("No module named 'selectolax.parser'")
    return {"title": "Example", "links": 12}


@app.task("RENDER_PDF", attempts=3, timeout=60)
async def render_pdf(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Render pages."""
    await _work(payload, context, "pages")
    if payload.get("broken") and context.attempt == 1:
        raise ConnectionError("the font service answered 502")
    return {"pages": 12, "pdf": "JVBERi0x" + "aB3d" * 600}


@app.task("THUMBNAIL", timeout=30)
async def thumbnail(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Make a small picture."""
    await _work(payload, context, "tiles")
    return {"width": 320}


@app.task("IMPORT_ROWS", attempts=1, timeout=120, limit=4)
async def import_rows(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Import rows, some of which have no country."""
    await _work(payload, context, "rows")
    return {"rows": 1000, "country": payload["country"]}
