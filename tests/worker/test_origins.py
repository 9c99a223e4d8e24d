"""Where a failure comes from: the innermost function of the application, and the class of the exception."""

import asyncio
import json
import re
from types import ModuleType
from typing import Any

import msgspec
import pytest

from fairlane import Fail, Retry
from fairlane.protocol import ORIGIN_LENGTH_MOST, OriginBody
from fairlane.worker.origins import FRAMES_MOST, origin_of, trace_of

HERE = __name__


class Ours(Exception):
    """An exception of the application."""


def boom(error: BaseException) -> None:
    """A function of the application, called by a handler."""
    raise error


def raised(function: Any, *arguments: Any, handler: Any = boom, named: bool = True) -> OriginBody:
    """The origin of what this raises."""
    with pytest.raises(BaseException) as caught:
        function(*arguments)
    return origin_of(caught.value, handler, named=named)


def loads() -> None:
    """The application gives a library something wrong."""
    json.loads("{")


def of_package(name: str, text: str, file: str) -> ModuleType:
    """A module with this code, which says that it is in this file."""
    module = ModuleType(name)
    exec(compile(text, file, "exec"), vars(module))
    return module


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (KeyError("secret"), "KeyError"),
        (Ours("secret"), f"{HERE}.Ours"),
        (Fail("CODE", "secret"), "Fail"),
        (Retry("secret", after=1), "Retry"),
        (ExceptionGroup("secret", [ValueError("secret"), KeyError()]), "ExceptionGroup of ValueError"),
        (msgspec.ValidationError("secret"), "msgspec.ValidationError"),
        (SystemExit(9), "SystemExit"),
    ],
)
def test_an_exception_is_known_by_its_class_and_the_function_that_raised_it(error: BaseException, name: str) -> None:
    """Never by its text, which may quote a payload."""
    origin = raised(boom, error)

    assert (origin.exception, origin.place) == (name, f"{HERE}:boom")
    assert origin.line == boom.__code__.co_firstlineno + 2
    assert b"secret" not in msgspec.json.encode(origin)


def test_the_frames_of_libraries_are_passed_over() -> None:
    """A library that raises is not the place: the application's call is."""
    assert raised(loads).place == f"{HERE}:loads"
    assert raised(loads).exception == "json.decoder.JSONDecodeError"


def test_a_deeper_function_of_the_application_is_the_place() -> None:
    """Also inside of a class, or of another function; and an awaited one."""

    class Cart:
        async def total(self) -> None:
            boom(KeyError())

    assert raised(lambda: asyncio.run(Cart().total())).place == f"{HERE}:boom"
    assert raised(lambda: boom(KeyError())).place == f"{HERE}:boom"


def test_an_installed_application_is_known_by_its_package() -> None:
    """Its files are among the libraries, but its modules begin as the handler's does."""
    folder = "/venv/lib/python3/site-packages"
    library = of_package("library", "def fail(): raise KeyError('x')", f"{folder}/library.py")
    shop = of_package("shop.orders", "def total(fail): fail()", f"{folder}/shop/orders.py")

    def handler() -> None: ...

    handler.__module__ = "shop.handlers"

    assert raised(shop.total, library.fail, handler=handler).place == "shop.orders:total"


def test_code_without_a_file_is_not_a_place() -> None:
    """As what a library makes at run time."""
    made = of_package("made", "def fail(): raise KeyError('x')", "<string>")

    with pytest.raises(KeyError) as caught:
        made.fail()

    assert origin_of(caught.value.with_traceback(caught.tb.tb_next), boom) == OriginBody(exception="KeyError")


def test_names_are_printable_and_bounded() -> None:
    """A class may be given any name; of a long one the end is kept."""
    odd = type("x\n" * 200, (Exception,), {})

    name = raised(boom, odd()).exception

    assert len(name) == ORIGIN_LENGTH_MOST
    assert name.isprintable()


def test_an_attempt_past_its_deadline_has_a_place_alone() -> None:
    """What it was canceled with says nothing."""
    origin = raised(boom, asyncio.CancelledError(), named=False)

    assert (origin.exception, origin.place) == ("", f"{HERE}:boom")


def test_a_trace_has_the_innermost_frames_with_libraries_and_without_values() -> None:
    """The innermost first, names and lines alone, and a bounded number of them."""

    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        loads()

    with pytest.raises(ValueError, match="Expecting") as caught:
        deep(50)

    lines = trace_of(caught.value).splitlines()

    assert len(lines) == FRAMES_MOST
    assert lines[0].startswith("at json.decoder:JSONDecoder.")
    assert any(re.fullmatch(rf"at {HERE}:loads, line \d+", line) for line in lines)
    assert "/" not in trace_of(caught.value)
    assert trace_of(ValueError("never raised")) == ""
