"""The operator's API is described route by route."""

import re
from pathlib import Path

from tests.api.house import House

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "operators.md").read_text("utf-8")


def test_every_route_of_the_operator_is_described_and_nothing_else(tmp_path: Path) -> None:
    """As the router of the admin socket has them."""
    with House(tmp_path) as house:
        served = {
            f"{method} {resource.path}"
            for resource in house.server.surfaces["admin socket"].resources
            for method in resource.methods
        }

    described = re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", PAGE, re.MULTILINE)

    assert {re.sub(r"{\w+}", "{}", route) for route in described} == served
    assert len(described) == len(set(described))
