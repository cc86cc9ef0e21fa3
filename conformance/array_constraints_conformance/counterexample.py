"""What a check says: `require`, and the counterexample that it raises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np


@dataclass(frozen=True)
class Counterexample:
    """What was put in, what the requirement expects, and what came out."""

    message: str
    constraint: str = ""
    dtype: str | None = None
    input: str = ""
    expected: str = ""
    got: str = ""


class RequirementNotMet(Exception):
    """A law does not hold; never an AssertionError: it survives ``python -O``."""

    def __init__(self, counterexample: Counterexample) -> None:
        super().__init__(counterexample.message)
        self.counterexample = counterexample


class Refused(Exception):
    """The implementation raised: kept apart from what the suite itself may raise."""

    def __init__(self, error: BaseException, counterexample: Counterexample) -> None:
        super().__init__(counterexample.message)
        self.error, self.counterexample = error, counterexample


class NotProvided(Exception):
    """The implementation has no such function, method or argument."""


class WrongMembership(ValueError):
    """The membership test of a custom constraint raised, or returned something else."""


class NotApplicable(Exception):
    """The requirement does not apply here; the message says why."""


_E = TypeVar("_E", bound=Exception)
_STATED: WeakValueDictionary[int, Exception] = WeakValueDictionary()


def stated(outcome: _E) -> _E:
    """Return an outcome that the suite is about to raise, so that it is known as its own."""
    _STATED[id(outcome)] = outcome
    return outcome


def is_own(error: BaseException) -> bool:
    """Whether the suite stated it: the same exception of an implementation is a crash."""
    return id(error) in _STATED


def require(condition: object, message: str, **details: Any) -> None:
    """Raise :class:`RequirementNotMet` unless ``condition`` holds."""
    if not condition:
        shown = {key: text(value) for key, value in details.items()}
        raise stated(RequirementNotMet(Counterexample(message, **shown)))


def attempt(constraint: str, run: Callable[..., Any], *arguments: Any, w: Any = "") -> Any:
    """Run code of the implementation; what it raises becomes its counterexample.

    ``w`` is the weight to show then, or a function that returns it.
    """
    try:
        return run(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, and the panics of compiled extensions
        if is_own(error):
            raise
        message = f"raised {said(error)}"
        shown = w() if callable(w) else w
        dtype = str(shown.dtype) if isinstance(shown, np.ndarray) else None
        name = type(error).__name__
        details = Counterexample(message, constraint, dtype, text(shown), "a result", name)
        raise stated(Refused(error, details)) from error


def said(error: BaseException) -> str:
    """Return the class and the message of an error, whose ``str`` may raise too."""
    try:
        message = str(error)
    except Exception as another:
        message = f"(its message raises {type(another).__name__})"
    return f"{type(error).__name__}: {message}"[:500]


def text(value: Any) -> str:
    """Return a value as Python that gives it back, long arrays shortened."""
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
