"""Registering and loading applications, decoding payloads, encoding results: what authors may write, and what not."""

import asyncio
import dataclasses
import logging
import math
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from msgspec import UNSET

from fairlane import Context, Fail, Fairlane, Retry
from fairlane.errors import AppError, ValidationRefused
from fairlane.handlers import Said, load_app
from fairlane.model.tasks import Failure, Isolation, TaskRule
from fairlane.payloads import decoder_for
from fairlane.worker.results import encode_result, storable
from tests.tables import each


class Inner(msgspec.Struct):
    b: list[int]


class OfStruct(msgspec.Struct, forbid_unknown_fields=True):
    n: int
    inner: Inner | None = None
    table: dict[str, int] = {}


@dataclasses.dataclass
class OfDataclass:
    n: int


class OfSets(msgspec.Struct):
    n: frozenset[int]


class OfTypedDict(TypedDict):
    n: int


@attrs.define
class OfAttrs:
    n: int


class OfPydantic(pydantic.BaseModel):
    n: int
    inner: list["OfPydantic"] = []


@pydantic.dataclasses.dataclass
class OfPydanticDataclass:
    n: int


HINTS = [OfStruct, OfDataclass, OfTypedDict, OfAttrs, OfPydantic, OfPydanticDataclass]


# Registration --------------------------------------------------------------------------------------------------------


def test_task_keeps_the_function_and_its_rule() -> None:
    """The decorator returns the function unchanged; the catalogue says what was declared."""
    app = Fairlane()

    async def scan(payload: dict) -> None: ...

    assert app.task("SCAN", cost=2, timeout=1.5, attempts=3, isolation="process", limit=4)(scan) is scan
    rule = TaskRule(name="SCAN", cost=2, timeout_ms=1500, attempts=3, isolation=Isolation.PROCESS, limit=4)
    assert app.catalogue == {"SCAN": rule}
    scanning = app.task_types["SCAN"]
    assert (scanning.rule, scanning.function, scanning.is_async, scanning.takes_context) == (rule, scan, True, False)


def test_second_parameter_takes_the_context() -> None:
    """Whatever its name."""
    app = Fairlane()

    @app.task("SCAN")
    def scan(payload: dict, about: Context) -> None: ...

    assert app.task_types["SCAN"].takes_context
    assert not app.task_types["SCAN"].is_async


def test_a_handler_without_a_name_is_called_after_its_function() -> None:
    """Without parentheses, and without a name in them; the function stays what it is."""
    app = Fairlane()

    @app.task
    async def fetch_page(payload: OfStruct) -> dict[str, int]:
        return {"n": payload.n}

    @app.task(timeout=2)
    def fetch_image(payload: dict) -> None: ...

    assert list(app.catalogue) == ["FETCH_PAGE", "FETCH_IMAGE"]
    assert app.catalogue["FETCH_IMAGE"].timeout_ms == 2000
    assert app.task_types["FETCH_PAGE"].path == "/v1/monitor/fetch/page"
    assert app.task_types["FETCH_PAGE"].hint is OfStruct
    assert fetch_page.__name__ == "fetch_page"


@pytest.mark.parametrize("name", ["_hidden", "é"])
def test_a_function_whose_name_is_no_task_type_needs_one(name: str) -> None:
    """The message names the place."""

    def scan(payload: dict) -> None: ...

    scan.__name__ = name
    with pytest.raises(AppError, match=rf"test_handlers.py:\d+: task type '{name.upper()}'"):
        Fairlane().task(scan)


def test_an_asgi_server_is_told_how_to_start_an_application() -> None:
    """uvicorn prints the message of a failed start-up and ends; any other request raises the same."""
    uvicorn = pytest.importorskip("uvicorn")
    app = Fairlane()
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, keep = logging.getLogger("uvicorn.error"), Keep()
    logger.addHandler(keep)
    try:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
        with pytest.raises(SystemExit):
            server.run()
    finally:
        logger.removeHandler(keep)

    assert any("fairlane serve app:app" in line for line in said)
    with pytest.raises(AppError, match="fairlane serve"):
        asyncio.run(app({"type": "http"}, None, None))


def test_name_registered_twice_names_both_places() -> None:
    """A type has one handler."""
    app = Fairlane()

    @app.task("SCAN")
    def first(payload): ...

    with pytest.raises(AppError) as caught:

        @app.task("SCAN")
        def second(payload): ...

    assert str(caught.value).count(__file__) == 2
    assert "SCAN is already registered" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("CHATGPT", "/v1/monitor/chatgpt"),
        ("GOOGLE_NEWS", "/v1/monitor/google/news"),
        ("A__B_", "/v1/monitor/a/b"),
        ("V2", "/v1/monitor/v2"),
    ],
)
def test_a_path_follows_from_the_name(name: str, path: str) -> None:
    """Lower case, each underscore a slash."""
    app = Fairlane()

    @app.task(name)
    def scan(payload): ...

    assert app.task_types[name].path == path


@pytest.mark.parametrize("path", ["/v1/monitor/x", "/v1/monitor/X-1/y.z/~_", "/v1/monitor/" + "x" * 188, None])
def test_a_path_may_be_chosen(path: str | None) -> None:
    """Or none."""
    app = Fairlane()

    @app.task("SCAN", path=path)
    def scan(payload): ...

    assert app.task_types["SCAN"].path == path


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "x", "/v1/monitor", "/v1/monitor/", "/v1/monitor//x", "/v1/monitor/x/", "/v1/async/task",
        "/v2/monitor/x",
        "/v1/monitor/a b", "/v1/monitor/%41", "/v1/monitor/{}", "/v1/monitor/x?y", "/v1/monitor/é", "/v1/monitor/x\n",
        "/v1/monitor/..", "/v1/monitor/./x", "/v1/monitor/../async/task", "/v1/monitor/" + "x" * 189, 5, True,
    ],
)  # fmt: skip
def test_a_malformed_path_is_refused(path: Any) -> None:
    """Below /v1/monitor/, of plain words, at most 200 characters; the message names the place."""
    app = Fairlane()
    with pytest.raises(AppError, match=r"SCAN: path=") as caught:

        @app.task("SCAN", path=path)
        def scan(payload): ...

    assert __file__ in str(caught.value)
    assert "SCAN" not in app.catalogue


@pytest.mark.parametrize(("name", "path"), [("OTHER", "/v1/monitor/google/news"), ("GOOGLE__NEWS", UNSET)])
def test_a_path_in_use_is_refused(name: str, path: Any) -> None:
    """Both places are named, also where one of the paths follows from a name."""
    app = Fairlane()

    @app.task("GOOGLE_NEWS")
    def first(payload): ...

    with pytest.raises(AppError, match="the path /v1/monitor/google/news is that of GOOGLE_NEWS") as caught:

        @app.task(name, path=path)
        def second(payload): ...

    assert str(caught.value).count(__file__) == 2


def test_types_without_a_path_do_not_collide() -> None:
    """None is no path."""
    app = Fairlane()
    for name in ("A", "B"):

        @app.task(name, path=None)
        def scan(payload): ...

    assert {task_type.path for task_type in app.task_types.values()} == {None}


@pytest.mark.parametrize("name", ["", "scan", "Scan", "1SCAN", "_SCAN", "SCAN-IT", "S" * 65, "SCAN\n", None])
def test_name_outside_the_rule_is_refused(name: Any) -> None:
    """Upper-case, at most 64 characters."""
    with pytest.raises(AppError, match="task type"):
        Fairlane().task(name)(lambda payload: None)


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": 1001},
        {"attempts": True},
        {"attempts": 2.0},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": math.nan},
        {"timeout": math.inf},
        {"timeout": "5"},
        {"timeout": True},
        {"limit": 0},
        {"limit": False},
        {"cost": -1},
        {"cost": 0.5},
        {"call_cost": -1},
        {"call_cost": True},
        {"isolation": "thread"},
        {"isolation": None},
    ],
)
def test_option_out_of_range_is_refused_with_its_place(options: dict[str, Any]) -> None:
    """The message names the value and the function's file and line."""
    [name] = options

    with pytest.raises(AppError, match=name) as caught:
        Fairlane().task("SCAN", **options)(lambda payload: None)

    assert str(caught.value).startswith(__file__)


def test_limits_of_options_are_allowed() -> None:
    """Just inside is fine."""
    app = Fairlane()
    app.task("A" * 64, attempts=1, timeout=0.001, limit=1, cost=0)(lambda payload: None)
    app.task("A", attempts=1000, timeout=604_800)(lambda payload: None)
    assert len(app.task_types) == 2


async def _generator(payload):
    yield 1


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda a, b, c: None,
        lambda *payloads: None,
        lambda payload, *, context: None,
        lambda payload, **rest: None,
        _generator,
        len,
    ],
)
def test_wrong_parameters_are_refused(function: Any) -> None:
    """(payload) or (payload, context), and a result."""
    with pytest.raises(AppError):
        Fairlane().task("SCAN")(function)


def test_local_class_is_resolved_from_a_written_hint() -> None:
    """As ``from __future__ import annotations`` leaves it."""
    app = Fairlane()

    class Local(msgspec.Struct):
        n: int

    @app.task("SCAN")
    def scan(payload: "Local") -> "NotImportedAtRunTime": ...  # type: ignore[name-defined] # noqa: F821

    assert app.task_types["SCAN"].decode('{"n": 1}') == Local(1)


def test_hint_that_cannot_be_resolved_is_refused() -> None:
    """At start, with the place and the name."""
    app = Fairlane()

    @app.task("SCAN")
    def scan(payload: "Nowhere"): ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(AppError, match="Nowhere") as caught:
        _ = app.task_types
    assert __file__ in str(caught.value)


# Payloads ------------------------------------------------------------------------------------------------------------


@each("hint", HINTS)
def test_payload_types_decode(hint: Any) -> None:
    """From text or bytes, to a value of the type."""
    decode = decoder_for(hint, "here:1")

    assert decode('{"n": 7}') == decode(b'{"n": 7}') == hint(n=7)


@pytest.mark.parametrize("hint", HINTS)
@each("text", ['{"n": "5"}', '{"n": 5.5}', '{"n": true}', '{"n": null}', "{}"])
def test_payloads_are_strict(hint: Any, text: str) -> None:
    """No value is bent to fit, and the field is named."""
    with pytest.raises(ValidationRefused) as caught:
        decoder_for(hint, "here:1")(text)

    assert [detail["field"] for detail in caught.value.details] == ["payload.n"]
    assert all(detail["message"] for detail in caught.value.details)


@pytest.mark.parametrize("hint", [*HINTS, dict, Any, dict[str, int]])
@each("text", ["[]", "null", "5", '"n"', "{", "", b"\xff", '{"n": NaN'])
def test_anything_but_an_object_is_refused(hint: Any, text: str | bytes) -> None:
    """Whatever the type."""
    with pytest.raises(ValidationRefused) as caught:
        decoder_for(hint, "here:1")(text)

    assert caught.value.details[0]["field"] == "payload"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"n": 1, "inner": {"b": [1, "2"]}}', "payload.inner.b.1"),
        ('{"n": 1, "inner": {}}', "payload.inner.b"),
        ('{"n": 1, "table": {"x": "y"}}', "payload.table.*"),
        ('{"n": 1, "other": 2}', "payload.other"),
    ],
)
def test_field_paths_are_dotted(text: str, field: str) -> None:
    """Down to the place."""
    with pytest.raises(ValidationRefused) as caught:
        decoder_for(OfStruct, "here:1")(text)

    assert [detail["field"] for detail in caught.value.details] == [field]


def test_pydantic_names_every_place() -> None:
    """Its locations become the same dotted paths."""
    with pytest.raises(ValidationRefused) as caught:
        decoder_for(OfPydantic, "here:1")('{"n": "x", "inner": [{"n": 1}, {}]}')

    assert [detail["field"] for detail in caught.value.details] == ["payload.n", "payload.inner.1.n"]


@pytest.mark.parametrize("hint", [dict, dict[str, Any], Any, object])
def test_any_object_fits_an_open_hint(hint: Any) -> None:
    """``dict``, or no hint at all."""
    assert decoder_for(hint, "here:1")('{"a": [1, null]}') == {"a": [1, None]}


class Opaque: ...


class WithOpaque(msgspec.Struct):
    inner: list[Opaque]


class WithPydantic(msgspec.Struct):
    inner: OfPydantic


class AsArray(msgspec.Struct, array_like=True):
    n: int


class Dangling(msgspec.Struct):
    other: "NotThere"  # type: ignore[name-defined] # noqa: F821


class DanglingModel(pydantic.BaseModel):
    other: "NotThere"  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    "hint",
    [
        int, str, list[int], None, OfStruct | None, OfStruct | int, Opaque, WithOpaque, WithPydantic, AsArray, Dangling,
        DanglingModel, tuple[int], "text",
    ],
)  # fmt: skip
def test_hint_that_cannot_be_decoded_is_refused_with_its_place(hint: Any) -> None:
    """At start, not at the first request."""
    with pytest.raises(AppError, match=r"here\.py:7"):
        decoder_for(hint, "here.py:7")


class Guarded(msgspec.Struct):
    n: int

    def __post_init__(self) -> None:
        raise {1: ValueError("n is wrong"), 2: KeyError("secret")}[self.n]


def test_check_of_the_author_refuses() -> None:
    """A ValueError's text is for the caller; what else may break in it is not."""
    decode = decoder_for(Guarded, "here:1")

    with pytest.raises(ValidationRefused) as meant:
        decode('{"n": 1}')
    with pytest.raises(ValidationRefused) as broken:
        decode('{"n": 2}')

    assert meant.value.details == [{"field": "payload", "message": "n is wrong"}]
    assert "secret" not in str(broken.value.details)


# Loading -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    """A file that may become an application; what loading it changes is undone."""
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path / "some_app.py"
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


GOOD = "from fairlane import Fairlane\napp = Fairlane()\n@app.task('SCAN')\ndef scan(payload): ...\n"


def test_app_loads_by_file_and_by_module(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the working directory; the same file is the same application."""
    module.write_text(GOOD)
    monkeypatch.chdir(module.parent)

    by_file = load_app("some_app.py:app")

    assert list(by_file.catalogue) == ["SCAN"]
    assert load_app(f"{module}:app") is by_file
    assert load_app("some_app:app") is by_file


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nothing_of_this_name", ["ModuleNotFoundError", "some_app.py:1"]),
        ("x = (\n1 +", ["SyntaxError", "some_app.py:"]),
        ("\n\nraise SystemExit(3)", ["SystemExit", "some_app.py:3"]),
        ("other = 1", ["no attribute 'app'", "some_app.py"]),
        ("app = 5", ["of type int", "some_app.py"]),
        ("from fairlane import Fairlane\napp = Fairlane()", ["registers no task", "some_app.py"]),
        (
            GOOD + "@app.task('SCAN')\ndef again(payload): ...",
            ["already registered", "some_app.py:3", "some_app.py:5"],
        ),
        (GOOD.replace("payload", "payload: int"), ["JSON object", "some_app.py:3"]),
    ],
)
def test_app_that_cannot_be_used_is_refused_with_its_place(module: Path, source: str, words: list[str]) -> None:
    """The original error and where it is."""
    module.write_text(source)

    with pytest.raises(AppError) as caught:
        load_app(f"{module}:app")

    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("reference", ["", "app", ":app", "some_app:", "not_here.py:app", "not_here_at_all:app"])
def test_reference_that_names_nothing_is_refused(reference: str) -> None:
    """With what was asked for."""
    with pytest.raises(AppError):
        load_app(reference)


# Results -------------------------------------------------------------------------------------------------------------


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, b"{}"),
        ({"a": [1, 2.5, None, True, "x"]}, b'{"a":[1,2.5,null,true,"x"]}'),
        (None, b'{"result":null}'),
        ("x", b'{"result":"x"}'),
        ([1], b'{"result":[1]}'),
        ((1, (2,)), b'{"result":[1,[2]]}'),
        ({"a": (1, 2)}, b'{"a":[1,2]}'),
        ({Colour.RED: Colour.RED}, b'{"red":"red"}'),
        ({"d": Decimal("NaN")}, b'{"d":"NaN"}'),
        (Inner([1]), b'{"b":[1]}'),
        (OfDataclass(1), b'{"n":1}'),
        (OfAttrs(1), b'{"n":1}'),
        (OfPydantic(n=1), b'{"n":1,"inner":[]}'),
        ({"m": [OfPydantic(n=1)]}, b'{"m":[{"n":1,"inner":[]}]}'),
        (2**63 - 1, b'{"result":9223372036854775807}'),
        (-(2**63), b'{"result":-9223372036854775808}'),
        ("9" * 30, b'{"result":"' + b"9" * 30 + b'"}'),
        ("\ud800", rb'{"result":"\ud800"}'),
        ({"\udfff": [OfPydantic(n=1), "\xe9"]}, rb'{"\udfff":[{"n":1,"inner":[]},"\u00e9"]}'),
    ],
)
def test_result_becomes_an_object(value: object, text: bytes) -> None:
    """As it is, or wrapped."""
    assert encode_result(value, limit_bytes=1000) == text


class FloatModel(pydantic.BaseModel):
    x: float


class FloatStruct(msgspec.Struct):
    x: float


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        {"a": [math.inf]},
        {"a": (-math.inf,)},
        {"a": None, "b": math.nan},
        FloatModel(x=math.nan),
        FloatStruct(math.nan),
        {1: "a"},
        {"a": {2.5: 1}},
        {None: 1},
        2**63,
        {"a": [-(2**63) - 1]},
        {"a": "\ud800", "b": math.nan},
        {"a": "\ud800", 1: 1},
        object(),
        {"a": lambda: 1},
        msgspec.Raw(b"{\n}"),
        msgspec.Raw(b"{"),
    ],
)
def test_result_that_json_would_change_is_refused(value: object) -> None:
    """NaN would silently become null, 1 the key "1"."""
    refused = encode_result(value, limit_bytes=1000)

    assert isinstance(refused, Failure)
    assert refused.code == "RESULT_NOT_SERIALIZABLE"


class Image:
    """Nothing that JSON knows."""


class Text(str):
    """As scrapers and template engines have them."""


class Loud(pydantic.BaseModel):
    """Cannot be written."""

    n: int

    @pydantic.model_serializer
    def written(self) -> dict[str, int]:
        raise RuntimeError("secret")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"pages": [1, 2, 3, {"a", "b"}]}, 'result["pages"][3] is a set, not a list'),
        ({"pages": [1, 2, 3, {Image()}]}, 'result["pages"][3] is a set, not a list'),
        (set(), "result is a set, not a list"),
        (OfSets(frozenset({1})), 'result["n"] is a frozenset, not a list'),
        ({"pages": [1, (2, Image())]}, 'result["pages"][1][1] is an Image'),
        ({"a b": {'"': 1j}}, r'result["a b"]["\""] is a complex'),
        ([0.5, {"n": math.nan}], 'result[1]["n"] is nan'),
        (OfDataclass(2**63), 'result["n"] is an integer beyond 64 bits'),
        ({"m": [FloatModel(x=-math.inf)]}, 'result["m"][0]["x"] is -inf'),
        ({"m": Loud(n=1)}, 'result["m"] is a Loud, and writing it raised PydanticSerializationError'),
        ({"t": {1: 2}}, 'result["t"] has a key that is an int, not a string'),
        ({"g": (n for n in [1])}, 'result["g"] is a generator'),
        ("\ud800", None),
    ],
)
def test_a_result_that_cannot_be_kept_is_named_by_place_and_type(value: object, message: str | None) -> None:
    """As Python would write the place; no text of an exception is in it."""
    refused = encode_result(value, limit_bytes=1000)

    shown = refused.message if isinstance(refused, Failure) else None
    assert shown == (None if message is None else f"The result cannot be written as JSON: {message}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Text("x"), b'"x"'),
        ([Text("x"), Fraction(1, 2)], b'["x",0.5]'),
        ({Text("k"): Text("\0")}, rb'{"k":"\u0000"}'),
    ],
)
def test_numbers_and_text_of_other_types_are_written(value: object, text: bytes) -> None:
    """As the number or the text that they are."""
    wrapped = text if text.startswith(b"{") else b'{"result":%b}' % text
    assert encode_result(value, limit_bytes=1000) == wrapped


def test_half_a_surrogate_pair_is_kept_in_results_alone() -> None:
    """Details of a failure travel inside a message, whose reader takes none."""
    assert storable({"details": "\xe9"})
    assert not storable({"details": "\ud800"})


def test_deep_result_is_refused_alone() -> None:
    """Before it could break the exchange it would travel in; so is one that contains itself."""
    deep: list[Any] = []
    for _ in range(498):
        deep = [deep]
    assert isinstance(encode_result(deep, limit_bytes=10_000), bytes)
    deep = [[deep]]
    endless: list[Any] = []
    endless.append(endless)

    for value in (deep, endless):
        refused = encode_result(value, limit_bytes=10_000)
        assert isinstance(refused, Failure)
        assert refused.code == "RESULT_NOT_SERIALIZABLE"


def test_result_limit() -> None:
    """Counted on the text that is kept."""
    assert encode_result("x" * 87, limit_bytes=100) == b'{"result":"' + b"x" * 87 + b'"}'
    assert isinstance(encode_result("\ud800" + '"' * 30, limit_bytes=100), Failure), "escaped twice on its way"
    refused = encode_result("x" * 88, limit_bytes=100)
    assert isinstance(refused, Failure)
    assert refused.code == "RESULT_TOO_LARGE"


def a_context() -> Context:
    """Of some attempt."""
    return Context(task_id="t", attempt=1, attempts=3, organization="acme", deadline=time.monotonic() + 60)


def test_the_last_progress_is_told_once() -> None:
    """A part of 1, or so many of a total; a long note is cut."""
    context = a_context()
    assert context.said() is None
    context.progress(0.5)
    context.progress(3, 10, "x" * 500)

    assert context.said() == Said(done=3.0, total=10.0, note="x" * 200)
    assert context.said() is None
    context.progress(1)
    assert context.said() == Said(done=1.0, total=None, note=None)


@pytest.mark.parametrize(
    ("done", "total"), [(-0.1, None), (1.1, None), (11, 10), (float("nan"), None), (1, float("inf"))]
)
def test_progress_that_makes_no_sense_is_a_mistake(done: float, total: float | None) -> None:
    """Told to who wrote the handler."""
    with pytest.raises(ValueError, match="progress"):
        a_context().progress(done, total)


# Signals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "seconds"),
    [(None, None), (0, 0.0), (7, 7.0), (Decimal("1.5"), 1.5), (Fraction(3, 2), 1.5), (2_592_000, 2_592_000.0)],
)
def test_any_real_number_is_a_pause(after: Any, seconds: float | None) -> None:
    """By position, too; what travels is a float."""
    assert (type(Retry("later", after).after_seconds), Retry("later", after=after).after_seconds) == (
        type(seconds),
        seconds,
    )


@pytest.mark.parametrize(
    "after", [True, "5", b"5", 1j, [5], object(), -0.001, 2_592_000.1, math.nan, math.inf, Decimal("sNaN"), 10**400]
)
def test_any_other_pause_is_refused_at_the_call(after: Any) -> None:
    """By its type or its value; the message names the argument."""
    with pytest.raises((TypeError, ValueError), match=r"Retry\(after="):
        Retry("later", after=after)


def test_signals_keep_plain_text_alone() -> None:
    """What cannot be text is refused at the call, not when it is reported."""

    class Silent(Exception):
        def __str__(self) -> str:
            raise LookupError

    failed = Fail(Text("CODE"), Text("message"), {"why": 1})

    assert [type(text) for text in (failed.code, failed.failure_message, *Retry(Text("x")).args)] == [str] * 3
    assert (str(failed), failed.details) == ("CODE: message", {"why": 1})
    for wrong in (lambda: Retry(Silent()), lambda: Fail("A", Silent())):
        with pytest.raises(LookupError):
            wrong()
    for code in ("", None):
        with pytest.raises(ValueError, match="code"):
            Fail(code, "message")  # type: ignore[arg-type]
