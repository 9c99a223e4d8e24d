"""Tests over tables of rows: a test of its own costs more than most rows do."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def each(names: str, rows: Iterable[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Run a test's body for each row, with one set of fixtures, and fail with every row that failed.

    Args:
        names: the arguments that a row gives values to, separated by commas, as of ``pytest.mark.parametrize``.
        rows: one value for each name; with one name, the value itself.
    """
    given = [name.strip() for name in names.split(",")]
    table = [row if len(given) > 1 else (row,) for row in rows]
    assert table, "a table without rows holds no promise"

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(test)
        left = [one for name, one in signature.parameters.items() if name not in given]
        assert len(left) + len(given) == len(signature.parameters), f"{test.__name__} does not take all of {names}"
        cases = [dict(zip(given, row, strict=True)) for row in table]
        run: Any = (_in_a_loop if inspect.iscoroutinefunction(test) else _plainly)(test, cases)
        run.__signature__ = signature.replace(parameters=left)
        return run

    return decorate


Case = dict[str, Any]


def _plainly(test: Callable[..., Any], cases: list[Case]) -> Callable[..., Any]:
    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        failed = []
        for case in cases:
            try:
                test(**fixtures, **case)
            except Exception as error:
                failed.append(_noted(error, case))
        _report(test, failed)

    return run


def _in_a_loop(test: Callable[..., Any], cases: list[Case]) -> Callable[..., Any]:
    @functools.wraps(test)
    async def run(**fixtures: Any) -> None:
        failed = []
        for case in cases:
            try:
                await test(**fixtures, **case)
            except Exception as error:
                failed.append(_noted(error, case))
        _report(test, failed)

    return run


def _noted(error: Exception, case: Case) -> Exception:
    error.add_note(f"row: {ascii(case)[:300]}")
    return error


def _report(test: Callable[..., Any], failed: list[Exception]) -> None:
    if failed:
        raise ExceptionGroup(f"{test.__name__}: {len(failed)} rows failed", failed)
