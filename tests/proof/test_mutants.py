"""The list of mutants fits today's source: a piece of text that moved on would prove nothing."""

from tests.proof.mutants import MUTANTS, REPOSITORY, Mutant
from tests.tables import each


@each("mutant", MUTANTS)
def test_a_mutant_replaces_one_piece_of_todays_source(mutant: Mutant) -> None:
    """It stands there once, is something else afterwards, and its tests exist."""
    text = (REPOSITORY / "src" / "fairlane" / mutant.file).read_text("utf-8")

    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert all((REPOSITORY / test.partition("::")[0]).exists() for test in mutant.tests.split())


def test_mutants_have_names_of_their_own() -> None:
    """A name finds one."""
    assert len({one.name for one in MUTANTS}) == len(MUTANTS) >= 50
