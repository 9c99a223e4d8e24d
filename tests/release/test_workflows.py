"""The workflows run targets that exist, on every declared Python, and only a tag of this version publishes."""

import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from fairlane import __version__
from tests.cli.harness import ROOT

FOLDER = ROOT / ".github" / "workflows"


def read(name: str) -> dict[str, Any]:
    """Return a workflow."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return found


def steps(name: str) -> list[str]:
    """Return the commands of a workflow."""
    return [step["run"] for job in read(name)["jobs"].values() for step in job["steps"] if "run" in step]


def test_every_target_exists() -> None:
    """What a workflow makes is a target of the Makefile, what it runs is a file."""
    made = re.findall(r"^([a-z.-]+(?:/[a-z.]+)?):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    asked = [
        target
        for name in ("check.yml", "release.yml")
        for step in steps(name)
        for target in re.findall(r"^make (\S+)", step)
    ]

    assert asked
    assert set(asked) <= set(made)
    assert (ROOT / ".ci" / "run").is_file()
    assert any(".ci/run" in step for step in steps("check.yml"))


def test_every_declared_python_is_tested() -> None:
    """No classifier without a run."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["classifiers"]
    versions = {found[1] for line in declared if (found := re.fullmatch(r".*:: (3\.\d+)", line))}

    assert set(read("check.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]) == versions


def test_the_packages_are_tried_before_a_tag() -> None:
    """With the oldest versions too, so that a bound that no longer holds is found by the change that broke it."""
    assert "make release" in steps("check.yml")


@pytest.mark.parametrize(("tag", "fits"), [(f"v{__version__}", True), ("v9.9.9", False)])
def test_only_a_tag_of_this_version_is_released(tag: str, fits: bool) -> None:
    """The first step ends the run for another tag."""
    ran = subprocess.run(
        ["sh", "-c", steps("release.yml")[0]],
        cwd=ROOT,
        env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"},
        check=False,
    )

    assert (ran.returncode == 0) is fits


def test_only_the_publishing_job_has_an_identity() -> None:
    """The job that runs the build cannot publish."""
    workflow = read("release.yml")

    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["build"]
    assert workflow["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert workflow["jobs"]["publish"]["needs"] == "build"
