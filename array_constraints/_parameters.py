"""Constructor parameters: judged once, stored as plain Python numbers, fitted on call."""

from __future__ import annotations

import math
import operator
import reprlib
import sys
from collections.abc import Sequence
from typing import TypeAlias

_LARGEST = sys.float_info.max

Axis: TypeAlias = int | tuple[int, ...] | None


def number(
    name: str, value: object, *, lower: float = -math.inf, upper: float = math.inf
) -> float:
    """Return ``value`` as a Python ``int`` or ``float`` in ``[lower, upper]``."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise TypeError(f"{name} must be a real number, got {_shown(value)}")
    if not lower <= plain <= upper or (abs(plain) > _LARGEST and plain != math.inf):
        raise ValueError(f"{name} must be {_range(lower, upper)}, got {_shown(plain)}")
    return int(plain) if isinstance(plain, int) else plain + 0.0  # -0.0 becomes 0.0


def number_or_numbers(name: str, value: object, *, lower: float) -> float | tuple[float, ...]:
    """Return one number, or a tuple of numbers: one for each slice."""
    plain = value.tolist() if getattr(value, "ndim", 0) == 1 else value  # type: ignore[attr-defined]
    if not isinstance(plain, list | tuple):
        return number(name, plain, lower=lower)
    if not plain:
        raise ValueError(f"{name} must hold at least one number, got {value!r}")
    return tuple(number(f"{name}[{i}]", entry, lower=lower) for i, entry in enumerate(plain))


def axis(value: object) -> Axis:
    """Return ``value`` as ``None``, an ``int``, or a tuple of distinct ``int``."""
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        axes = tuple(_dimension(entry, value) for entry in value)
        if len(set(axes)) < len(axes):
            raise ValueError(f"axis must name each dimension once, got {value!r}")
        return axes
    return _dimension(value, value)


def normalized_axes(owner: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the dimensions that ``axis`` names, counted from the front, in order."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, int) and -ndim <= axis < ndim:
        return (axis % ndim,)
    axes = (axis,) if isinstance(axis, int) else axis
    for i in axes:
        if not -ndim <= i < ndim:
            raise ValueError(
                f"{owner}: axis {axis} does not fit an array of {ndim} dimensions"
                + (" (a 0-d array is one slice with axis=None)" if ndim == 0 else "")
            )
    found = tuple([i for i in range(ndim) if i in axes or i - ndim in axes])
    if len(found) < len(axes):
        raise ValueError(f"{owner}: axis {axis} names a dimension of {ndim} twice")
    return found


def number_of_slices(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return math.prod([n for i, n in enumerate(shape) if i not in axes])


def _dimension(entry: object, shown: object) -> int:
    plain = _plain(entry)
    if isinstance(plain, bool) or not hasattr(plain, "__index__") or hasattr(plain, "shape"):
        given = _shown(entry if hasattr(entry, "shape") else shown)
        raise TypeError(f"axis must be an int, a tuple or list of ints, or None, got {given}")
    return int(operator.index(plain))


def _plain(value: object) -> object:
    """Unwrap the 0-d scalar of an array library; leave everything else alone."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    return value


def _shown(value: object) -> str:
    """Describe a refused value; an array is described by its type, never printed."""
    if hasattr(value, "shape"):
        return f"an array of type {type(value).__name__}"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return f"an int of {value.bit_length()} bits"
    return reprlib.repr(value)  # of a list of any depth and length


def _range(lower: float, upper: float) -> str:
    if lower == -math.inf and upper == math.inf:
        return "a number, not NaN"
    if upper == math.inf:
        return f"at least {lower:g}"
    if upper == _LARGEST:
        return f"finite and at least {lower:g}"
    return f"between {lower:g} and {upper:g}"
