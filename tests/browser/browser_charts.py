"""Charts, drawn from made-up numbers by the pages' own module."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

Enter = Callable[..., Page]

DRAWN = """async ({ series, unit, values, step, minutes }) => {
    const base = document.querySelector("script[type=module]").src.replace("main.js", "");
    const module = await import(base + "chart.js");
    const times = values[0].map((_, index) => Date.UTC(2026, 10, 30, 13, 7) + index * step);
    const until = times.at(-1) + step * (minutes ?? 1);
    const place = document.createElement("div");
    place.className = "charts";
    document.querySelector("main").replaceChildren(place);
    for (const title of ["First", "Second"]) {
        const made = module.chart(title, { unit: module[unit], series });
        place.append(made.element);
        made.show({ times, step, until, values });
    }
}"""
FLOW = [{"name": "completed", "kind": "good"}, {"name": "failed", "kind": "bad"}]


def draw(page: Page, values: list[list[float | None]], **options: Any) -> Any:
    """The first of two charts of these numbers."""
    asked = {"series": FLOW[: len(values)], "unit": "COUNT", "step": 60_000, "values": values}
    page.evaluate(DRAWN, asked | options)
    chart = page.get_by_role("img", name=re.compile("^First"))
    expect(chart.locator(".axis").first).to_be_attached()
    return chart


def labels(chart: Any, anchor: str) -> list[str]:
    """The texts of an axis."""
    return [str(one) for one in chart.locator(f"text[text-anchor={anchor}]").all_text_contents()]


@pytest.fixture
def board(enter: Enter) -> Page:
    """A page of the dashboard with content that a test may replace."""
    page = enter("code")
    page.get_by_role("heading", name="Code", exact=True).wait_for()
    return page


def test_axes_have_round_values_and_round_times(board: Page) -> None:
    """Quarters of an hour of the reader's clock; and three or four values with their unit."""
    chart = draw(board, [[number * 100 for number in range(60)]])
    times, counts = labels(chart, "middle"), labels(chart, "end")
    seconds = labels(draw(board, [[number * 4.0 for number in range(60)]], unit="SECONDS"), "end")

    assert all(re.fullmatch(r"1[34]:[0-5][05]", one) for one in times), times
    assert 2 <= len(times) <= 8
    assert counts == ["0", "2,000", "4,000", "6,000"]
    assert seconds == ["0 s", "2 min", "4 min"]


def test_one_burst_does_not_flatten_the_rest(board: Page) -> None:
    """It is cut off with a mark and its number; what is high now sets the scale."""
    quiet: list[float | None] = [10.0] * 60

    burst = draw(board, [[*quiet[:30], 9_000.0, *quiet[31:]]])
    tops, marks, said = labels(burst, "end"), burst.locator(".cut").count(), burst.text_content()
    rise = draw(board, [[*quiet[:58], 9_000.0, 9_000.0]])

    assert (tops[-1], marks) == ("15", 1)
    assert "up to 9,000" in (said or "")
    assert rise.locator(".cut").count() == 0
    assert labels(rise, "end")[-1] == "10k"


def test_what_is_not_known_is_a_gap_and_what_is_not_over_is_dotted(board: Page) -> None:
    """A line ends before the gap and begins after it; the running step has its own ground."""
    chart = draw(board, [[1.0, 2.0, None, 4.0, 5.0, 3.0]], minutes=0.4)

    drawn = chart.locator("path.line:not(.open)").get_attribute("d")
    assert drawn is not None
    assert drawn.count("M") == 2
    assert chart.locator("rect.unfinished").count() == 1
    assert chart.locator("path.line.open").count() == 1


def test_charts_share_a_cursor_and_are_read_with_the_keyboard(board: Page) -> None:
    """The values under it stand in every legend, with the time; Escape takes it away."""
    chart = draw(board, [[float(number) for number in range(10)], [None, *[7.0] * 9]])
    legends, times = board.locator("figure .legend"), board.locator("figcaption time")
    expect(legends.first).to_have_text(re.compile(r"completed 9.*failed 7"))
    box = chart.bounding_box()
    board.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    for number in range(2):
        expect(legends.nth(number)).to_have_text(re.compile(r"completed [45]"))
        expect(times.nth(number)).to_have_text(re.compile(r"13:1[12]"))

    chart.focus()
    board.keyboard.press("Home")

    expect(legends.nth(1)).to_have_text(re.compile(r"completed 0.*failed –"))
    expect(board.get_by_role("status").filter(has_text="13:07: completed 0, failed –")).to_be_attached()
    board.keyboard.press("Escape")
    expect(times.first).to_have_text("")


def test_the_numbers_are_a_table_that_is_made_when_it_is_opened(board: Page) -> None:
    """The newest step first; the one that is not over says so."""
    draw(board, [[1.0, 2.0, 3.0]], minutes=0.5)
    assert board.locator("figure table").count() == 0

    board.get_by_text("As a table").first.click()

    rows = board.locator("figure").first.locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("(unfinished)")
    expect(rows.first.locator("td").last).to_have_text("3")


STEPS = """async (now) => {
    const base = document.querySelector("script[type=module]").src.replace("main.js", "");
    const { steps } = await import(base + "timeline.js");
    const first = { number: 1, startedAt: 1_002, endedAt: 1_010, ending: "FAILED", dueAt: 1_950, waited: null };
    const second = { number: 2, startedAt: 1_960, endedAt: 1_970, ending: "FAILED", dueAt: null, waited: null };
    const found = steps({ createdAt: 1_000, status: "FAILED", attempts: [first, second], endedAt: 1_970 }, now);
    return found.filter((one) => one.until !== undefined).map((one) => [one.title, one.until - one.at]);
}"""


def test_what_happened_is_not_cut_by_a_clock_without_milliseconds(board: Page) -> None:
    """The page's idea of the server's time may be a second old: a pause that is over keeps its length."""
    whole = [["Waited", 2], ["Attempt 1 failed", 8], ["Pause before the next attempt", 940], ["Waited", 10],
             ["Attempt 2 failed", 10]]  # fmt: skip

    assert board.evaluate(STEPS, 5_000) == whole
    assert board.evaluate(STEPS, 1_000) == whole
