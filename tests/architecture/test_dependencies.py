"""What pyproject.toml asks for is used, and why is written down."""

import re
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import pytest

from tests.architecture.sources import REPOSITORY, modules

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
REQUIRED = [re.split(r"[>=<;~! \[]", line, maxsplit=1)[0] for line in PROJECT["dependencies"]]
DECISIONS = "\n".join(page.read_text("utf-8") for page in sorted((REPOSITORY / "docs" / "decisions").glob("*.md")))


@cache
def imported() -> set[str]:
    """Distributions that some module of ours imports, by their usual names."""
    known = packages_distributions()
    tops = {found.target.split(".")[0] for module in modules() for found in module.imports}
    return {distribution.lower().replace("_", "-") for top in tops for distribution in known.get(top, [])}


@pytest.mark.parametrize("name", REQUIRED)
def test_every_runtime_dependency_is_imported_and_has_a_reason(name: str) -> None:
    """What nothing imports is not asked for; what is asked for stands on a decision page."""
    assert name in imported()
    assert name in DECISIONS


def test_a_dependency_that_nobody_imports_is_noticed() -> None:
    """The control: a package of the tests is none of the runtime's."""
    assert "pytest" not in imported()
