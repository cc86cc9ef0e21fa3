"""What a call accepts: one type of error for each mistake, the same on every library."""

from __future__ import annotations

from typing import Any

from array_constraints import _arrays
from array_constraints.numerics.formats import FORMATS
from array_constraints.typing import Array, Namespace

_REAL = FORMATS.keys() | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_DENSE = "make it dense first"


def accepted(owner: str, w: Any, copy: bool | None = None) -> tuple[Any, Namespace]:
    """Return ``w`` as an array and its namespace, or raise an error that says what to pass."""
    if copy is not None and not isinstance(copy, bool):
        raise TypeError(f"{owner}: copy must be None, True or False, got {copy!r}")
    try:
        xp = _arrays.namespace(w)
    except TypeError:
        raise TypeError(f"{owner} takes an array, got {_named(w)}: {_advice(w)}") from None
    library = _arrays.library(xp)
    reason = library.refused(w)
    if reason is not None:
        raise TypeError(f"{owner} takes plain dense arrays, got {_named(w)} {reason}")
    w = library.array(w)
    reason = library.unwritable(w) if copy is False else None
    if reason is not None:
        raise ValueError(f"{owner}: copy=False cannot write into {reason}")
    return w, xp


def require_real_floating(owner: str, w: Array) -> None:
    name = _arrays.dtype_name(w, _arrays.namespace(w))
    if name not in FORMATS:
        raise TypeError(
            f"{owner} takes a real floating dtype ({', '.join(FORMATS)}), got {name}"
        )


def require_real_numeric(owner: str, w: Array) -> None:
    name = _arrays.dtype_name(w, _arrays.namespace(w))
    if name not in _REAL:
        raise TypeError(f"{owner} takes a real numeric dtype, got {name}")


def _named(w: object) -> str:
    library = type(w).__module__.partition(".")[0]
    return f"{library}.{type(w).__qualname__}".removeprefix("builtins.")


def _advice(w: object) -> str:
    if hasattr(type(w), "value"):
        return "pass its .value"
    if hasattr(w, "todense") or hasattr(w, "toarray"):
        return _DENSE
    return "make it an array first, for example with numpy.asarray(w)"
