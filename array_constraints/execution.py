"""The executors: they run a form and hand over its result; they never name a constraint."""

from __future__ import annotations

from typing import Any, Protocol

from array_constraints import _arrays
from array_constraints._protocol import Array, Namespace


class Expression(Protocol):
    """What the executors need of a form: both of its maps as one expression each."""

    def whole(self, w: Array, xp: Namespace, /) -> Array: ...
    def whole_violation(self, w: Array, xp: Namespace, /) -> Array: ...


def execute(form: Expression, w: Array, copy: bool | None, xp: Namespace) -> Any:
    """Run ``form`` on ``w`` and return the result as ``copy`` asks."""
    result = w if 0 in w.shape else _arrays.library(xp).run(whole, form, w, xp)
    return deliver(w, result, copy, xp)


def whole(form: Expression, w: Array, xp: Namespace) -> Array:
    """Run ``form`` as one expression: no value is looked at, no compute is triggered."""
    result = form.whole(w, xp)
    if result.dtype != w.dtype:  # NumPy drops a foreign byte order
        return xp.astype(result, w.dtype)
    return result


def violation(form: Expression, w: Array, xp: Namespace) -> Array:
    """Run the violation of ``form`` as one expression."""
    return form.whole_violation(w, xp)


def deliver(w: Any, result: Any, copy: bool | None, xp: Namespace) -> Any:
    """Return ``result`` as a new array, or written into ``w``, as ``copy`` asks."""
    if copy is False:
        if result is not w:
            _arrays.library(xp).write(w, result)
        return w
    if copy is True:  # the result may be a view of w
        return _arrays.library(xp).copied(result, xp)
    return result
