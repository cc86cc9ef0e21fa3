"""Counterexamples, and the exceptions that carry them from a check to its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np


@dataclass(frozen=True)
class Counterexample:
    """A weight that shows a broken law: the input, the expected result, the result."""

    message: str
    constraint: str = ""
    dtype: str | None = None
    input: str = ""
    expected: str = ""
    got: str = ""


class RequirementNotMet(Exception):
    """A law that does not hold; no AssertionError, so that ``python -O`` keeps it."""

    def __init__(self, counterexample: Counterexample) -> None:
        super().__init__(counterexample.message)
        self.counterexample = counterexample


class Raised(Exception):
    """An error of the implementation, kept apart from errors of the suite itself."""

    def __init__(self, error: BaseException, counterexample: Counterexample) -> None:
        super().__init__(counterexample.message)
        self.error, self.counterexample = error, counterexample


class NotProvided(Exception):
    """A function, method or argument that the implementation does not have."""


class WrongMembership(ValueError):
    """A membership test that raised, or returned neither True nor False."""


class NotApplicable(Exception):
    """A requirement that does not apply here, for the reason in the message."""


_E = TypeVar("_E", bound=Exception)
_STATED: WeakValueDictionary[int, Exception] = WeakValueDictionary()


def stated(outcome: _E) -> _E:
    """Note an exception that the suite is about to raise, and return it."""
    _STATED[id(outcome)] = outcome
    return outcome


def was_stated(error: BaseException) -> bool:
    """Return whether the suite noted it: raised by an implementation it is a crash."""
    return id(error) in _STATED


def require(condition: object, message: str, **details: Any) -> None:
    """Raise :class:`RequirementNotMet` unless ``condition`` holds."""
    if not condition:
        shown = {key: as_python(value) for key, value in details.items()}
        raise stated(RequirementNotMet(Counterexample(message, **shown)))


def attempt(constraint: str, run: Callable[..., Any], *arguments: Any, w: Any = "") -> Any:
    """Run code of the implementation; an error becomes a :class:`Raised`.

    ``w`` is the weight that its counterexample shows, or a function that returns it.
    """
    try:
        return run(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, and the panics of compiled extensions
        if was_stated(error):
            raise
        message = f"raised {message_of(error)}"
        shown = w() if callable(w) else w
        dtype = str(shown.dtype) if isinstance(shown, np.ndarray) else None
        name = type(error).__name__
        details = Counterexample(message, constraint, dtype, as_python(shown), "a result", name)
        raise stated(Raised(error, details)) from error


def message_of(error: BaseException) -> str:
    """Return the class and the message of an error, whose ``str`` may raise too."""
    try:
        message = str(error)
    except Exception as another:
        message = f"(its message raises {type(another).__name__})"
    return f"{type(error).__name__}: {message}"[:500]


def as_python(value: Any) -> str:
    """Return a value as Python source, long arrays shortened."""
    if isinstance(value, str):
        return value
    if not isinstance(value, np.ndarray):
        return repr(value.item() if isinstance(value, np.generic) else value)
    if value.dtype.kind == "V":  # bfloat16, whose entries have no Python type
        value = value.astype(np.float64)
    if value.size > 24:
        head = ", ".join(map(repr, value.ravel()[:6].tolist()))
        shape = f" of shape {value.shape}" if value.ndim > 1 else ""
        return f"{value.size} entries{shape}: [{head}, ...]"
    return repr(value.tolist())
