"""Constructor parameters: judged once, and stored as plain numbers."""

from __future__ import annotations

import math
import operator
import reprlib
import sys
from collections.abc import Sequence
from typing import Any, Literal

from array_constraints.libraries import compiling, traced
from array_constraints.typing import Axis, name_of

INCOMING: Literal["incoming"] = "incoming"
"""The axis of all weights into one unit, which a layer or a layout knows, and an array not."""

_LARGEST = sys.float_info.max


def number(name: str, value: object, *, lower: float, upper: float = math.inf) -> Any:
    """Return ``value`` as a Python ``int`` or ``float`` in ``[lower, upper]``.

    A number that is traced has no value to be judged: it stays as it is.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and compiling():
        return value
    if traced(value) and getattr(value, "ndim", 1) == 0:
        return _real(name, value)
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise TypeError(f"{name} must be a real number, got {_shown(value)}")
    if not lower <= plain <= upper or (
        abs(plain) > _LARGEST and plain not in (math.inf, -math.inf)
    ):
        raise ValueError(f"{name} must be {_range(lower, upper)}, got {_shown(plain)}")
    return int(plain) if isinstance(plain, int) else plain + 0.0  # -0.0 becomes 0.0


def finite(name: str, value: object) -> Any:
    """Return one finite number, or a tuple of them: one for each slice; or what is traced."""
    return number_or_numbers(name, value, lower=-_LARGEST, upper=_LARGEST)


def number_or_numbers(
    name: str, value: object, *, lower: float, upper: float = math.inf
) -> Any:
    """Return one number, or a tuple of numbers: one for each slice; or what is traced."""
    if isinstance(value, int | float):
        return number(name, value, lower=lower, upper=upper)
    if traced(value) and getattr(value, "ndim", 0) == 1:
        return _real(name, value)
    plain = value.tolist() if getattr(value, "ndim", 0) == 1 else value  # type: ignore[attr-defined]
    if not isinstance(plain, list | tuple):
        return number(name, plain, lower=lower, upper=upper)
    if not plain:
        raise ValueError(f"{name} must hold at least one number, got {value!r}")
    return tuple(
        number(f"{name}[{i}]", entry, lower=lower, upper=upper) for i, entry in enumerate(plain)
    )


def judge_order(low: Any, high: Any) -> None:
    """Raise ValueError where a ``min_value`` exceeds its ``max_value``; none is traced."""
    lows, highs = ((x,) if isinstance(x, int | float) else x for x in (low, high))
    if not (isinstance(lows, tuple) and isinstance(highs, tuple)):
        return
    if len(lows) != len(highs) and 1 not in (len(lows), len(highs)):
        raise ValueError(
            f"min_value has {len(lows)} entries, and max_value {len(highs)}: give as many"
        )
    for i in range(max(len(lows), len(highs))):
        a, b = lows[i if len(lows) > 1 else 0], highs[i if len(highs) > 1 else 0]
        if a > b:
            raise ValueError(f"min_value must not exceed max_value, got {a!r} > {b!r}")


def choice(name: str, value: object, known: tuple[Any, ...]) -> Any:
    """Return the one of ``known`` that equals ``value``, or raise."""
    plain = _plain(value)
    for one in known:
        if type(plain) is not bool and isinstance(plain, str | int | float) and plain == one:
            return one
    error = ValueError if type(plain) in {type(one) for one in known} else TypeError
    raise error(f"{name} must be {_one_of(known)}, got {_shown(value)}")


def whole_number(name: str, value: object, *, lower: float, upper: float = math.inf) -> int:
    """Return ``value`` as an ``int`` in ``[lower, upper]``."""
    plain = _plain(value)
    if isinstance(plain, bool) or not hasattr(plain, "__index__") or hasattr(plain, "shape"):
        raise TypeError(f"{name} must be an int, got {_shown(value)}")
    found = operator.index(plain)
    if not lower <= found <= upper:
        raise ValueError(f"{name} must be {_range(lower, upper)}, got {_shown(found)}")
    return found


def truth_value(name: str, value: object) -> bool:
    """Return ``value`` as a ``bool``, or raise: 0 and 1 are numbers."""
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise TypeError(f"{name} must be True or False, got {_shown(value)}")
    return plain


def _one_of(known: tuple[Any, ...]) -> str:
    *others, last = map(repr, known)
    return f"{', '.join(others)} or {last}"


def _real(name: str, value: Any) -> Any:
    """Return a traced number, or raise where it is a truth value or complex."""
    dtype = str(value.dtype)
    if "bool" in dtype or "complex" in dtype:
        raise TypeError(f"{name} must be a real number, got a traced one of dtype {dtype}")
    return value


def axis(value: object) -> Axis:
    """Return ``None``, an ``int``, a tuple of distinct ``int``, or ``"incoming"``."""
    if value is None:
        return None
    if isinstance(value, str) and value == INCOMING:
        return INCOMING
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
    if isinstance(axis, str):
        raise ValueError(f"{owner}: {_UNRESOLVED}")
    if isinstance(axis, int) and -ndim <= axis < ndim:
        # torch.compile may take an int for a symbol, and knows it once it is an index.
        return (tuple(range(ndim))[axis],)
    axes = (axis,) if isinstance(axis, int) else axis
    for i in axes:
        if not -ndim <= i < ndim:
            raise ValueError(
                f"{owner}: axis {axis} does not fit an array of {ndim} dimensions"
                + (" (a 0-d array is one slice with axis=None)" if ndim == 0 else "")
            )
    found = {tuple(range(ndim))[i] for i in axes}
    if len(found) < len(axes):
        raise ValueError(f"{owner}: axis {axis} names a dimension of {ndim} twice")
    return tuple(sorted(found))


_UNRESOLVED = (
    "axis='incoming' is known from a layer, and a bare array has none: constrain a model by "
    "an integration, or named weights by Rules.apply(weights, layout='torch'), or "
    "write the axis: for a dense weight 1 in PyTorch, (outputs, inputs), 0 in Keras, (inputs, "
    "outputs)"
)


def pair_of_axes(owner: str, axis: Any, ndim: int) -> tuple[int, int]:
    """Return the dimensions of the rows and of the columns of matrices, from the front."""
    rows, columns = (normalized_axes(owner, i, ndim)[0] for i in axis)
    if rows == columns:
        raise ValueError(f"{owner}: axis {axis} names a dimension of {ndim} twice")
    return rows, columns


def axes_of(form: Any, w: Any) -> tuple[int, ...]:
    """Return the dimensions of ``w`` that one slice of a form with an ``axis`` runs along."""
    return normalized_axes(name_of(type(form)), form.axis, w.ndim)


def number_of_slices(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Return how many slices along ``axes`` an array of that shape has."""
    return math.prod([n for i, n in enumerate(shape) if i not in axes])


def numbers_of_part(
    shape: tuple[int, ...], dimensions: Sequence[int], part: tuple[slice, ...]
) -> list[int]:
    """Return the numbers, in C order of ``dimensions``, of what is in a part of an array."""
    numbers = [0]
    for i in sorted(dimensions):
        inside = range(*part[i].indices(shape[i]))
        numbers = [number * shape[i] + j for number in numbers for j in inside]
    return numbers


def _dimension(entry: object, shown: object) -> int:
    plain = _plain(entry)
    if isinstance(plain, bool) or not hasattr(plain, "__index__") or hasattr(plain, "shape"):
        given = _shown(entry if hasattr(entry, "shape") else shown)
        raise TypeError(
            f"axis must be an int, a tuple or list of ints, None, or 'incoming', got {given}"
        )
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
    if lower == -math.inf:
        return "a number, not NaN" if upper == math.inf else f"at most {upper:g}"
    if lower == -_LARGEST:
        return "finite"
    if upper == math.inf:
        return f"at least {lower:g}"
    if upper == _LARGEST:
        return f"finite and at least {lower:g}"
    return f"between {lower:g} and {upper:g}"
