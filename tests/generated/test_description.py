"""The clients of this description were generated and run, by ``make proof``, which installs the generators for that."""

import json

from tests.generated.description import DESCRIPTION, PROVED, digest


def test_clients_were_generated_from_this_description() -> None:
    """The same generators and the same description give the same clients."""
    assert PROVED.read_text("utf-8").strip() == digest(DESCRIPTION.read_bytes()), (
        "docs/api/openapi.json or a generator changed: run `make proof ARGS='--only clients'`, which writes "
        "tests/generated/proved.txt if generated clients still work"
    )


def test_a_change_that_a_generator_reads_changes_the_digest() -> None:
    """One for readers alone does not."""
    description = json.loads(DESCRIPTION.read_bytes())
    before = digest(json.dumps(description).encode())
    description["info"]["description"] = "other words"
    same = digest(json.dumps(description).encode())
    path = next(iter(description["paths"].values()))
    next(iter(path.values()))["operationId"] += "x"

    assert same == before
    assert digest(json.dumps(description).encode()) != before
