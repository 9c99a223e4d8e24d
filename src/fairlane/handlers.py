"""Registration of handlers: ``Fairlane``, what it knows about each task type, and the context that a handler gets.

Used by applications, and by everything that loads one (server, worker, command line). Runs no handler.
"""

import contextlib
import importlib
import importlib.util
import inspect
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Literal, TypeVar, get_type_hints, overload

from msgspec import UNSET, Struct, UnsetType

from fairlane.errors import AppError, plain_text, real_number
from fairlane.model.tasks import Isolation, TaskRule
from fairlane.payloads import Decode, decoder_for

TIMEOUT_MAX_SECONDS = 7 * 86_400
ATTEMPTS_MAX = 1_000

TYPE_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
"""The names that a task type may have."""
CALLS_BELOW = "/v1/monitor/"
PATH_LENGTH_MOST = 200
_NAME = "__fairlane_task_type__"
"""The attribute of a function that is registered, for clients that are given the function."""
_PATH = re.compile(re.escape(CALLS_BELOW.rstrip("/")) + r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

NOT_ASGI = (
    "a fairlane.Fairlane is not an ASGI application: start it with `fairlane serve MODULE:ATTRIBUTE`, such as "
    "`fairlane serve app:app`, which runs the server and its workers"
)

Function = TypeVar("Function", bound=Callable[..., Any])
Hook = TypeVar("Hook", bound=Callable[[], Any])


PROGRESS_NOTE_LENGTH = 200
PROGRESS_MOST = 1e15


class Said(Struct, frozen=True, kw_only=True):
    """Progress that a handler reported."""

    done: float
    total: float | None
    """None if ``done`` is a fraction of 1."""
    note: str | None


class Context:
    """What a handler can find out about its attempt, if it takes a second parameter. Safe to use from any thread."""

    def __init__(
        self,
        *,
        task_id: str,
        attempt: int,
        attempts: int,
        organization: str,
        deadline: float,
        lease_id: str = "",
        is_call: bool = False,
        traceparent: str | None = None,
    ) -> None:
        self.task_id = task_id
        """For a call, the call's id."""
        self.attempt = attempt
        """1 for the first attempt."""
        self.attempts = attempts
        """How many attempts the task may have in all."""
        self.organization = organization
        self.deadline = deadline
        """When the attempt must have ended, on the clock of ``time.monotonic``."""
        self.lease_id = lease_id
        """Unique to this attempt: with it, a side effect can refuse an attempt that was given up."""
        self.is_call = is_call
        """Whether a caller waits for the answer on an open connection, instead of requesting it later."""
        self.traceparent = traceparent
        """The attempt's span, to be sent with requests as the header of that name, or None if it is not traced."""
        self._canceled = False
        self._said: Said | None = None

    def progress(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Report how far the attempt is: a fraction from 0 to 1, or a number out of a total. Customers see it while it
        runs.

        Frequent calls are cheap: the latest progress is sent to the server once a second. It is not kept after the
        attempt.

        Examples:
            >>> context.progress(0.4)  # doctest: +SKIP
            >>> context.progress(12, 30, "pages read")  # doctest: +SKIP

        Raises:
            TypeError: ``done`` or ``total`` is not a real number.
            ValueError: ``done`` is negative or NaN, or more than ``total`` (or than 1 without a total).
        """
        part = _progress_number(done, "done")
        whole = None if total is None else _progress_number(total, "total")
        if not (0 <= part <= (1 if whole is None else whole) <= PROGRESS_MOST):
            raise ValueError(f"progress({part!r}, {whole!r}): 0 <= done <= total is needed, or done from 0 to 1")
        said = None if note is None else plain_text(note)[:PROGRESS_NOTE_LENGTH]
        self._said = Said(done=part, total=whole, note=said)

    def said(self) -> "Said | None":
        """Return the latest progress once, then None until there is a newer one. For the code that runs the handler."""
        said, self._said = self._said, None
        return said

    @property
    def canceled(self) -> bool:
        """True once the attempt is past its deadline or canceled; a ``def`` handler checks it now and then."""
        return self._canceled

    def seconds_left(self) -> float:
        """Return the seconds until the deadline, 0 once it has passed."""
        return max(0.0, self.deadline - time.monotonic())

    def cancel(self) -> None:
        """Set ``canceled``. For the code that runs the handler."""
        self._canceled = True


def _progress_number(value: object, name: str) -> float:
    number = real_number(value)
    if number is None:
        raise TypeError(f"progress({name}=…) takes a number, not a value of type {type(value).__name__}")
    return number


class ServedType(Struct, frozen=True, kw_only=True):
    """One registered task type: its rule and how to run it."""

    rule: TaskRule
    function: Callable[..., Any]
    is_async: bool
    takes_context: bool
    hint: object
    """The payload's type, as the function's annotation names it."""
    decode: Decode
    path: str | None
    """The path at which it is called, or None if it can only be submitted as a task."""
    place: str
    """``file:line`` of the function."""


class _Registration(Struct, frozen=True, kw_only=True):
    """A handler with an unresolved payload hint: classes further down in the module may not exist yet."""

    rule: TaskRule
    function: Callable[..., Any]
    parameters: tuple[str, ...]
    path: str | None
    place: str
    names: dict[str, Any] | None
    """Local names where the handler was registered, or None at module level."""


def registered_name(function: object) -> str | None:
    """Return the task type of a registered function; None if it has none, or several."""
    return getattr(function, _NAME, None)


def _name(function: Callable[..., Any], name: str) -> None:
    with contextlib.suppress(AttributeError):  # a bound method takes no attributes
        setattr(function, _NAME, name if getattr(function, _NAME, name) == name else None)


class Fairlane:
    """An application: task types and the functions that run them.

    Examples:
        >>> app = Fairlane()
        >>> @app.task("GREET", timeout=5)
        ... async def greet(payload: dict) -> dict:
        ...     return {"hello": payload["name"]}
    """

    def __init__(self) -> None:
        self.start_hooks: list[Callable[[], Any]] = []
        self.stop_hooks: list[Callable[[], Any]] = []
        self._registrations: dict[str, _Registration] = {}
        self._task_types: dict[str, ServedType] = {}

    @overload
    def task(self, name: Function, /) -> Function: ...

    @overload
    def task(
        self,
        name: str | None = None,
        *,
        cost: int = 1,
        call_cost: int | None = None,
        timeout: float = 300,
        attempts: int = 5,
        isolation: Literal["worker", "process"] | Isolation = Isolation.WORKER,
        limit: int | None = None,
        path: str | UnsetType | None = UNSET,
    ) -> Callable[[Function], Function]: ...

    def task(
        self,
        name: str | Callable[..., Any] | None = None,
        *,
        cost: int = 1,
        call_cost: int | None = None,
        timeout: float = 300,
        attempts: int = 5,
        isolation: Literal["worker", "process"] | Isolation = Isolation.WORKER,
        limit: int | None = None,
        path: str | UnsetType | None = UNSET,
    ) -> Any:
        """Register a function, ``async def`` or ``def``, as the handler of a task type, and return it unchanged.

        Args:
            name: Task type on the wire: upper-case letters, digits and ``_``, at most 64. None, or no parentheses:
                the function's name in upper case.
            cost: Credits charged when a task completes.
            call_cost: Credits charged for a call that is answered with a result. If None, ``cost``.
            timeout: Seconds one attempt may take.
            attempts: Attempts before the task fails.
            isolation: ``"process"`` runs each attempt in a process that can be killed alone.
            limit: Most tasks and calls of this type that run at once, across all organizations. If None, no such limit.
            path: The path for calls, below ``/v1/monitor/``. By default the name in lower case with each ``_`` as
                ``/``:
                ``GOOGLE_NEWS`` is called at ``/v1/monitor/google/news``. If None, it cannot be called, only submitted.

        Raises:
            AppError: the name or the path is taken, a value is out of range, or the function has the wrong parameters.
        """
        frame = inspect.currentframe()
        caller = frame.f_back if frame else None

        def register(function: Function) -> Function:
            place = _place(function)
            name = function.__name__.upper() if given is None else given
            rule = _rule(name, cost, call_cost, timeout, attempts, isolation, limit, place)
            taken = self._registrations.get(name)
            if taken is not None:
                raise AppError(f"{place}: the task type {name} is already registered at {taken.place}")
            chosen = _path(name, path, place)
            for other, registration in self._registrations.items():
                if chosen is not None and registration.path == chosen:
                    raise AppError(
                        f"{place}: {name}: the path {chosen} is that of {other}, registered at {registration.place}: "
                        "give one of them another path=, or None"
                    )
            _name(function, name)
            self._registrations[name] = _Registration(
                rule=rule,
                function=function,
                parameters=_parameters(function, place),
                path=chosen,
                place=place,
                names=_local_names(caller),
            )
            return function

        if callable(name):
            given = None
            return register(name)
        given = name
        return register

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse to run as an ASGI application, for example in ``uvicorn app:app``, and name the right command."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.failed", "message": NOT_ASGI})
            return
        raise AppError(NOT_ASGI)

    def on_start(self, hook: Hook) -> Hook:
        """Run ``hook()``, sync or async, once in each worker process before its first attempt."""
        self.start_hooks.append(hook)
        return hook

    def on_stop(self, hook: Hook) -> Hook:
        """Run ``hook()``, sync or async, once in each worker process that ends in order."""
        self.stop_hooks.append(hook)
        return hook

    @property
    def catalogue(self) -> dict[str, TaskRule]:
        """Return what was declared about each task type."""
        return {name: registration.rule for name, registration in self._registrations.items()}

    @property
    def task_types(self) -> dict[str, ServedType]:
        """Return every task type, ready to run.

        Raises:
            AppError: a payload hint cannot be resolved or decoded.
        """
        for name, registration in self._registrations.items():
            if name not in self._task_types:
                self._task_types[name] = _task_type(registration)
        return dict(self._task_types)


# Loading -------------------------------------------------------------------------------------------------------------


def load_app(reference: str) -> Fairlane:
    """Return the application named by ``module:attribute`` or ``path/to/file.py:attribute``, checked and ready to
    serve.

    Raises:
        AppError: it cannot be imported, does not exist, is not a Fairlane, or registers nothing that can be served. The
            message names the place.
    """
    source, separator, attribute = reference.rpartition(":")
    if not separator or not source or not attribute:
        raise AppError(f"{reference!r} does not name an application: give MODULE:ATTRIBUTE, such as examples.app:app")
    module = _import(source)
    found = getattr(module, attribute, None)
    place = getattr(module, "__file__", None) or source
    if found is None:
        others = [name for name, value in vars(module).items() if isinstance(value, Fairlane)]
        cure = f"; give {source}:{others[0]}" if others else "; it has no fairlane.Fairlane at all"
        raise AppError(f"{place} has no attribute {attribute!r}, so {reference!r} does not name an application{cure}")
    if not isinstance(found, Fairlane):
        raise AppError(f"{attribute!r} in {place} is of type {type(found).__name__}, not a fairlane.Fairlane")
    if not found.task_types:
        raise AppError(f"the application {attribute!r} in {place} registers no task: use @{attribute}.task(NAME)")
    return found


def _import(source: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return _import_file(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    except AppError:
        raise
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == source.partition(".")[0]
        cure = f"; it is looked for in {here}: start in its folder, or give the path of its file" if missing else ""
        raise AppError(f"cannot import {source}: {type(error).__name__}: {error}{_origin(error)}{cure}") from error


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, so that it finds its neighbors as with ``python path/to/file.py``."""
    file = path.resolve()
    if not file.is_file():
        raise AppError(f"cannot import {path}: there is no such file")
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    name = file.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file):
        return loaded
    if loaded is not None:
        name = f"fairlane_app_{name}"
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _origin(error: BaseException) -> str:
    """Return `` (file:line)`` where an import failed, if it was in a source file and not in the import machinery."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith("<frozen") and frame.filename not in (__file__, importlib.__file__):
            return f" ({frame.filename}:{frame.lineno})"
    return ""


# Checking ------------------------------------------------------------------------------------------------------------


def _rule(
    name: str,
    cost: int,
    call_cost: int | None,
    timeout: float,
    attempts: int,
    isolation: str,
    limit: int | None,
    place: str,
) -> TaskRule:
    if not _is_name(name):
        raise AppError(f"{place}: task type {name!r}: use upper-case letters, digits and _, a letter first, at most 64")
    if not _is_int(cost, 0, 1_000_000_000):
        raise AppError(f"{place}: {name}: cost={cost!r}: an integer of 0 or more is needed")
    if call_cost is not None and not _is_int(call_cost, 0, 1_000_000_000):
        raise AppError(f"{place}: {name}: call_cost={call_cost!r}: an integer of 0 or more, or None, is needed")
    if not _is_timeout(timeout):
        raise AppError(
            f"{place}: {name}: timeout={timeout!r}: seconds from 0.001 to {TIMEOUT_MAX_SECONDS:,} are needed"
        )
    if not _is_int(attempts, 1, ATTEMPTS_MAX):
        raise AppError(f"{place}: {name}: attempts={attempts!r}: an integer from 1 to {ATTEMPTS_MAX:,} is needed")
    if limit is not None and not _is_int(limit, 1, 1_000_000):
        raise AppError(f"{place}: {name}: limit={limit!r}: an integer of 1 or more, or None, is needed")
    if isolation not in tuple(Isolation):
        raise AppError(f'{place}: {name}: isolation={isolation!r}: "worker" or "process" is needed')
    return TaskRule(
        name=name,
        cost=cost,
        timeout_ms=round(timeout * 1000),
        attempts=attempts,
        isolation=Isolation(isolation),
        limit=limit,
        call_cost=call_cost,
    )


def _path(name: str, path: object, place: str) -> str | None:
    """Return the path for calls of a type: as given, otherwise derived from its name."""
    if path is None:
        return None
    if path is UNSET:
        return CALLS_BELOW + "/".join(word for word in name.lower().split("_") if word)
    if not isinstance(path, str) or len(path) > PATH_LENGTH_MOST or _PATH.fullmatch(path) is None:
        raise AppError(
            f"{place}: {name}: path={path!r}: {CALLS_BELOW} and words of letters, digits and . _ ~ - separated by / "
            f"are needed, at most {PATH_LENGTH_MOST} characters, or None"
        )
    return path


def _is_name(value: object) -> bool:
    return isinstance(value, str) and TYPE_NAME.fullmatch(value) is not None


def _is_timeout(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.001 <= value <= TIMEOUT_MAX_SECONDS


def _is_int(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _place(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        raise AppError(f"{function!r} cannot be a handler: use a function, async def or def")
    return f"{code.co_filename}:{code.co_firstlineno}"


def _parameters(function: Callable[..., Any], place: str) -> tuple[str, ...]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise AppError(f"{place}: a handler returns its result; it cannot yield")
    parameters = inspect.signature(function).parameters.values()
    if len(parameters) not in (1, 2) or any(parameter.kind not in _POSITIONAL for parameter in parameters):
        raise AppError(f"{place}: a handler takes (payload) or (payload, context)")
    return tuple(parameter.name for parameter in parameters)


def _local_names(caller: FrameType | None) -> dict[str, Any] | None:
    """Return the names that only the registering function knows, such as payload classes defined in it."""
    if caller is None or caller.f_locals is caller.f_globals:
        return None
    return dict(caller.f_locals)


def _task_type(registration: _Registration) -> ServedType:
    hint = _payload_hint(registration)
    return ServedType(
        rule=registration.rule,
        function=registration.function,
        is_async=inspect.iscoroutinefunction(registration.function),
        takes_context=len(registration.parameters) == 2,
        hint=hint,
        decode=decoder_for(hint, registration.place),
        path=registration.path,
        place=registration.place,
    )


def _payload_hint(registration: _Registration) -> object:
    """Return the resolved hint of the first parameter only; other hints may name what only a type checker imports."""
    function = inspect.unwrap(registration.function)
    name = registration.parameters[0]

    class Bearer:
        """Carries one annotation to the standard library's resolver."""

    try:
        hints = inspect.get_annotations(function)
        if name not in hints:
            return dict
        Bearer.__annotations__ = {name: hints[name]}
        return get_type_hints(Bearer, function.__globals__, registration.names)[name]
    except Exception as error:
        raise AppError(
            f"{registration.place}: the payload hint of {registration.rule.name} cannot be resolved: {error}. Define "
            "the class in the module, or before the handler in the same function"
        ) from error
