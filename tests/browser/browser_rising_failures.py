"""The operator's overview when failures rise, on a server of its own.

Failures rise if they are a larger share than in the time before. On a server that other tests have used for more than
five minutes, the failures of these tests are that time.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, card

Enter = Callable[..., Page]
Picture = Callable[[Page, str], None]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server that nothing has run on."""
    site = Site(tmp_path)
    yield site
    site.close()


def test_the_overview_says_that_failures_rise(enter: Enter, site: Site, picture: Picture) -> None:
    """Within seconds, in one sentence with the time since when; the numbers and the charts are those of all."""
    page = enter(key=site.admin_key)
    health = page.get_by_role("list", name="Health")
    expect(health).to_contain_text(re.compile("All is well|failed"))
    for chart in ("Queue", "Flow", "Wait before the start", "Slots and places"):
        expect(page.get_by_role("img", name=re.compile(f"^{chart}"))).to_be_visible()

    for _ in range(60):
        site.submit("FAILS")

    expect(health).to_contain_text(re.compile(r"\d+ tasks failed in the last 5 minutes: \d+ % of those that ended"))
    expect(health).to_contain_text(re.compile(r"Since \d\d:\d\d\. See what failed and why"))
    expect(card(page, "Failed")).not_to_have_text("0/s")
    picture(page, "dashboard-operator")
