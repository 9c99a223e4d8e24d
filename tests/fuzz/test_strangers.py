"""A short run of what ``make fuzz`` does at length, and a control that it can find something."""

from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.strangers import fuzz


@pytest.mark.timeout(300)
def test_requests_made_up_from_the_description_break_nothing(tmp_path: Path) -> None:
    """No 5xx, no answer that is not described, no bad request accepted."""
    found = fuzz(tmp_path, cases=50)

    assert found.passed, found.report
    assert found.cases >= 50


@pytest.mark.timeout(300)
def test_a_description_that_is_wrong_is_found_out(tmp_path: Path) -> None:
    """A field that is not sent, and a status that is not described: both are reported."""

    def wrong(document: Any) -> Any:
        status = document["components"]["schemas"]["StatusBody"]
        status["required"].append("more")
        del document["paths"]["/v1/async/task/{taskId}"]["get"]["responses"]["404"]
        kept = ("/v1/async/status", "/v1/async/task/{taskId}")
        return document | {"paths": {path: document["paths"][path] for path in kept}}

    found = fuzz(tmp_path, cases=1, edit=wrong)

    assert not found.passed
    assert "is a required property" in found.report
    assert "Undocumented status code" in found.report
