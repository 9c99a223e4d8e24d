"""Typed callers: a task type with the types of its payload and of its result, for ``Client.run``.

A handler's function is one, where its module can be imported; ``fairlane client generate`` writes ``TaskType``
objects for programs that cannot.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec
from msgspec import UNSET, Struct

from fairlane import Context
from fairlane.client.errors import ResultUnexpected
from fairlane.handlers import registered_name

Payload = TypeVar("Payload")
Result = TypeVar("Result")

AsyncHandler = Callable[[Payload], Awaitable[Result]] | Callable[[Payload, Context], Awaitable[Result]]
"""An ``async def`` function that is registered with ``@app.task``."""
SyncHandler = Callable[[Payload], Result] | Callable[[Payload, Context], Result]
"""A ``def`` function that is registered with ``@app.task``."""


class TaskType(Struct, Generic[Payload, Result], frozen=True):
    """The name of a task type, with the types of its payload and its result.

    Examples:
        >>> from typing import Any
        >>> COUNT_WORDS = TaskType[dict[str, Any], dict[str, int]]("COUNT_WORDS", result=dict[str, int])
    """

    name: str
    result: Any = UNSET
    """What results are converted to. Without it, they are returned as they are."""


def name_of(task_type: object) -> str:
    """Return the name of a task type.

    Raises:
        TypeError: it is a function that is not registered, or registered under several names.
    """
    if isinstance(task_type, str):
        return task_type
    if isinstance(task_type, TaskType):
        return task_type.name
    name = registered_name(task_type)
    if name is None:
        shown = getattr(task_type, "__qualname__", type(task_type).__name__)
        raise TypeError(
            f"{shown} is not registered under one name: decorate it with @app.task, or give the name of a task type"
        )
    return name


def result_of(task_type: object, response: dict[str, Any]) -> Any:
    """Return the response of a task as the result that its handler returned.

    A handler's list, number or None is ``{"result": …}`` in the response: it is taken out where the type asks for it.

    Raises:
        ResultUnexpected: the response does not fit the type of the result.
    """
    hint = _hint(task_type)
    if hint in (UNSET, Any, object):
        return response
    misfit: Exception
    try:
        return _converted(response, hint)
    except _MISFITS as error:
        misfit = error
    if response.keys() == {"result"}:
        try:
            return _converted(response["result"], hint)
        except _MISFITS as error:
            misfit = error
    raise ResultUnexpected(f"the result of {name_of(task_type)} is not of its type: {misfit}") from misfit


_MISFITS = (msgspec.ValidationError, ValueError, TypeError, NotImplementedError)


def _hint(task_type: object) -> Any:
    match task_type:
        case str():
            return UNSET
        case TaskType():
            return task_type.result
    return get_type_hints(task_type).get("return", UNSET)


def _converted(value: object, hint: Any) -> Any:
    if hasattr(hint, "__pydantic_validator__"):
        return _of_pydantic(hint, value)
    return msgspec.convert(value, hint, str_keys=True, dec_hook=_of_pydantic)


def _of_pydantic(hint: Any, value: object) -> Any:
    if not hasattr(hint, "__pydantic_validator__"):
        raise NotImplementedError(f"values of {hint} cannot be read from JSON")
    return hint.__pydantic_validator__.validate_json(msgspec.json.encode(value))
