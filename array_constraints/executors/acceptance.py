"""Accept the arguments of a call, or raise: one error for each mistake on every library."""

from __future__ import annotations

from typing import Any

from array_constraints import libraries
from array_constraints.libraries import Library
from array_constraints.numerics.formats import FORMATS
from array_constraints.typing import Array, name_of

_REAL = FORMATS.keys() | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_DENSE = "make it dense first"
FOR_KERAS = "array_constraints.integrations.keras"
"""The module that makes variables of Keras known here, and these constraints known there."""


def accepted(owner: str, w: Any, copy: bool | None = None) -> tuple[Any, Library]:
    """Return ``w`` as an array and its library, or raise an error that says what to pass."""
    if copy is not None and not isinstance(copy, bool):
        raise TypeError(f"{owner}: copy must be None, True or False, got {copy!r}")
    if type(w) in libraries.CONTENTS:
        w = unboxed(owner, w, copy)
    try:
        library = libraries.of(w)
    except TypeError:
        raise TypeError(f"{owner} takes an array, got {_named(w)}: {_advice(w)}") from None
    reason = library.refused(w)
    if reason is not None:
        raise TypeError(f"{owner} takes plain dense arrays, got {_named(w)} {reason}")
    w = library.array(w)
    reason = library.unwritable(w) if copy is False else None
    if reason is not None:
        raise ValueError(f"{owner}: copy=False cannot write into {reason}")
    return w, library


def unboxed(owner: str, w: Any, copy: bool | None) -> Any:
    """Return the array in a variable of a framework whose integration is imported."""
    if copy is False:
        raise ValueError(
            f"{owner}: copy=False cannot write into a {_named(w)}: assign the result to it"
        )
    return libraries.CONTENTS[type(w)](w)


def accepted_by(form: Any, w: Any, copy: bool | None = None) -> tuple[Any, Library]:
    """Return ``w`` as an array and its library, or raise what a call of ``form`` raises."""
    w, library = accepted(name_of(type(form)), w, copy)
    form.validate(w)
    return w, library


def require_real_floating(owner: str, w: Array) -> None:
    """Raise TypeError where the dtype is not real floating."""
    name = libraries.of(w).name_of(w.dtype)
    if name not in FORMATS:
        raise TypeError(
            f"{owner} takes a real floating dtype ({', '.join(FORMATS)}), got {name}"
        )


def require_real_numeric(owner: str, w: Array) -> None:
    """Raise TypeError where the dtype is neither real floating nor integer."""
    name = libraries.of(w).name_of(w.dtype)
    if name not in _REAL:
        raise TypeError(f"{owner} takes a real numeric dtype, got {name}")


def _named(w: object) -> str:
    library = type(w).__module__.partition(".")[0]
    return f"{library}.{type(w).__qualname__}".removeprefix("builtins.")


def _advice(w: object) -> str:
    if type(w).__module__.partition(".")[0] == "keras" and hasattr(w, "assign"):
        return f"import {FOR_KERAS}, or pass its .value"
    if hasattr(type(w), "value"):
        return "pass its .value"
    if hasattr(w, "todense"):
        return _DENSE
    return "make it an array first, for example with numpy.asarray(w)"
