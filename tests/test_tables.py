"""A test over a table runs every row, and names those that fail."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.tables import each

NUMBERS = [1, 2, 3, 4]


def seen_by(decorate: Callable[..., Any], *, slow: bool) -> tuple[list[int], BaseExceptionGroup[Any]]:
    """The rows that a test over ``NUMBERS`` saw, which takes odd ones only, and how it failed."""
    seen: list[int] = []

    def check(number: int) -> None:
        seen.append(number)
        assert number % 2 == 1

    async def check_slowly(number: int) -> None:
        await asyncio.sleep(0)
        check(number)

    with pytest.raises(ExceptionGroup) as caught:
        if slow:
            asyncio.run(decorate(check_slowly)())
        else:
            decorate(check)()
    return seen, caught.value


@pytest.mark.parametrize("slow", [False, True])
def test_every_row_is_seen_and_each_that_fails_is_named(slow: bool) -> None:
    """A row that fails hides none after it."""
    seen, failure = seen_by(each("number", NUMBERS), slow=slow)

    assert seen == NUMBERS
    assert [error.__notes__ for error in failure.exceptions] == [["row: {'number': 2}"], ["row: {'number': 4}"]]


@each("first, second", [(1, 2), (3, 4)])
def test_rows_of_several_values_stand_beside_fixtures(anyio_backend: str, first: int, second: int) -> None:
    """Fixtures come by their names, as without a table."""
    assert (anyio_backend, second - first) == ("asyncio", 1)


def test_a_table_that_fits_no_argument_is_refused() -> None:
    """A name that was misspelled would leave every row unread; so would a table without rows."""

    def check(number: int) -> None: ...

    with pytest.raises(AssertionError, match="does not take all of numbr"):
        each("numbr", NUMBERS)(check)
    with pytest.raises(AssertionError, match="without rows"):
        each("number", [])
