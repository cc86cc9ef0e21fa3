"""Constructor parameters: judged once, stored as plain numbers, as strict JSON and back."""

from __future__ import annotations

import math
import operator
import re
import reprlib
import sys
from collections.abc import Mapping, Sequence
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
    if not lower <= plain <= upper or (abs(plain) > _LARGEST and plain != math.inf):
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


def axes_of(form: Any, w: Any) -> tuple[int, ...]:
    """Return the dimensions of ``w`` that one slice of a form with an ``axis`` runs along."""
    return normalized_axes(name_of(type(form)), form.axis, w.ndim)


def number_of_slices(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Return how many slices along ``axes`` an array of that shape has."""
    return math.prod([n for i, n in enumerate(shape) if i not in axes])


def judge_number_of_slices(form: Any, name: str, w: Any) -> None:
    """Raise ValueError where a parameter with one number for each slice has not as many."""
    numbers: Any = getattr(form, name)
    if isinstance(numbers, int | float) or not (isinstance(numbers, tuple) or numbers.ndim):
        return
    slices = number_of_slices(w.shape, axes_of(form, w))
    if slices != len(numbers):
        raise ValueError(
            f"{name_of(type(form))}: {name} has {len(numbers)} entries, an array of shape "
            f"{tuple(w.shape)} has {slices} slices along axis {form.axis}"
        )


def numbers_of_part(
    shape: tuple[int, ...], dimensions: Sequence[int], part: tuple[slice, ...]
) -> list[int]:
    """Return the numbers, in C order of ``dimensions``, of what is in a part of an array."""
    numbers = [0]
    for i in sorted(dimensions):
        inside = range(*part[i].indices(shape[i]))
        numbers = [number * shape[i] + j for number in numbers for j in inside]
    return numbers


def of_slices_in_part(
    numbers: Any, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
) -> Any:
    """Return those of the numbers, one for each slice, whose slices are in a part."""
    if not isinstance(numbers, tuple):
        return numbers
    others = [i for i in range(len(shape)) if i not in axes]
    return tuple(numbers[number] for number in numbers_of_part(shape, others, part))


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
    if lower == -_LARGEST:
        return "finite"
    if upper == math.inf:
        return f"at least {lower:g}"
    if upper == _LARGEST:
        return f"finite and at least {lower:g}"
    return f"between {lower:g} and {upper:g}"


DEEPEST = 64
"""Levels of lists and dictionaries in a config; an array of NumPy has as many dimensions."""

_INT = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE
)
_SEQUENCES = ("__tuple__", "TensorShape")  # of TensorFlow and tf_keras: {"items": [...]}
_ARRAYS = ("__numpy__", "__tensor__")  # of Keras 3: {"config": {"value": ...}}


def number_from_text(text: str) -> float:
    """Return the number that a text stands for, an int if it has no point and no exponent.

    Raises
    ------
    ValueError
        If it is not a number in decimal digits, ``inf`` or ``nan``, or out of the range.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{_shortened(text)} is not a number")
    found = float(text)
    if math.isinf(found) and "i" not in text.lower():
        raise ValueError(f"{_shortened(text)} is beyond the range of numbers: write inf")
    return int(text) if _INT.fullmatch(text) else found


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def judge_depth(value: object) -> None:
    """Raise ValueError where a value is nested too deep to be read, printed or compared."""
    level = [value]
    for _ in range(DEEPEST + 1):
        held = {id(entry): entry for outer in level for entry in _entries(outer)}
        level = [v for v in held.values() if isinstance(v, Mapping | list | tuple)]
        if not level:
            return
    raise ValueError(f"a config is nested more than {DEEPEST} levels deep: flatten it")


def _entries(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple) else []


def to_json(value: object) -> Any:
    """Tuples become lists and infinity the string ``"inf"``: strict JSON has neither."""
    if isinstance(value, tuple | list):
        return [to_json(entry) for entry in value]
    if isinstance(value, dict):
        return {key: to_json(entry) for key, entry in value.items()}
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def from_json(value: object) -> Any:
    """Read :func:`to_json` back, and what Keras and TensorFlow write as dictionaries."""
    judge_depth(value)
    return _restored(tuples_restored(value))


def _restored(value: object) -> Any:
    if isinstance(value, Mapping) and _kind(value) in _ARRAYS:
        config = value.get("config")
        if not isinstance(config, Mapping) or "value" not in config:
            raise ValueError(f"an array in a config has a 'value', got keys {list(value)}")
        value = config["value"]
    if isinstance(value, Mapping):
        return {key: _restored(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return tuple([_restored(entry) for entry in value])
    return float(value) if isinstance(value, str) and value in ("inf", "-inf") else value


def tuples_restored(value: object) -> Any:
    """Return a value with tuples where TensorFlow wrote dictionaries for them."""
    if isinstance(value, Mapping):
        if _kind(value) not in _SEQUENCES:
            return {key: tuples_restored(entry) for key, entry in value.items()}
        items = value.get("items")
        if not isinstance(items, list | tuple):
            kind = type(items).__name__
            raise ValueError(f"a {_kind(value)} in a config has a list of 'items', got {kind}")
        return tuple([tuples_restored(entry) for entry in items])
    if isinstance(value, list | tuple):
        entries = [tuples_restored(entry) for entry in value]
        return tuple(entries) if isinstance(value, tuple) else entries
    return value


def _kind(value: Mapping[Any, Any]) -> object:
    return value.get("class_name", value.get("className"))
