"""Faults of calls that should be refused: of axes, of dtypes, and of what is no array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from faults.making import Fault, implementation

MUTE = frozenset({"ERR-6"})  # where nothing is refused, there is no message


def calling(change: Callable[..., Any], name: str = "MaxNorm") -> Any:
    """Return a module whose calls are ``change(constraint, right, w)``; so is the violation."""

    def call(self: Any, w: Any, *, copy: bool | None = None) -> Any:
        right = super(type(self), self).__call__
        return change(self, lambda x: right(x, copy=copy), w)

    def violation(self: Any, w: Any) -> Any:
        return change(self, super(type(self), self).violation, w)

    return lambda: implementation(**{name: {"__call__": call, "violation": violation}})


def _printed(self, right, w):
    """Print the array in the message about its dtype."""
    try:
        return right(w)
    except TypeError as error:
        shown = f", in {w!r}" if isinstance(w, np.ndarray) else ""
        raise TypeError(f"{error}{shown}") from None


def _without_dtype(self, right, w):
    try:
        return right(w)
    except TypeError as error:
        if getattr(w, "dtype", None) == np.complex64:
            raise TypeError("MaxNorm takes real numbers") from None
        raise error from None


def _index_error(self, right, w):
    try:
        return right(w)
    except ValueError as error:
        raise (IndexError(*error.args) if "axis" in str(error) else error) from None


def _modulo(self, right, w):
    """Count an axis beyond the dimensions from the start again."""
    ndim = getattr(w, "ndim", 0)
    if type(self.axis) is int and ndim and not -ndim <= self.axis < ndim:
        return type(self)(self.max_value, self.axis % ndim)(w)
    return right(w)


def _once(self, right, w):
    """Take a dimension that is named twice by a negative number for one."""
    ndim = getattr(w, "ndim", 0)
    if isinstance(self.axis, tuple) and ndim and all(-ndim <= i < ndim for i in self.axis):
        axes = tuple(dict.fromkeys(i % ndim for i in self.axis))
        if len(axes) < len(self.axis):
            return type(self)(self.max_value, axes)(w)
    return right(w)


def _one_slice(self, right, w):
    """Take a 0-d array for one slice whatever the axis."""
    if getattr(w, "ndim", None) == 0 and self.axis in (0, -1):
        return type(self)(self.max_value, None)(w)
    return right(w)


def _violation_of_any_axis(self: Any, w: Any) -> Any:
    try:
        return super(type(self), self).violation(w)
    except ValueError:
        return np.zeros_like(w)


def _integers_converted(self, right, w):
    kind = getattr(getattr(w, "dtype", None), "kind", "")
    return right(w.astype(np.float64)) if kind in "iu" and kind else right(w)


def _bytes_converted(self, right, w):
    return right(w.astype(np.float32)) if getattr(w, "dtype", None) == np.uint8 else right(w)


def _bool_as_integer(self, right, w):
    if getattr(w, "dtype", None) == np.bool_:
        return right(w.astype(np.uint8)).astype(np.bool_)
    return right(w)


def _real_part(self, right, w):
    return right(w.real) if getattr(getattr(w, "dtype", None), "kind", "") == "c" else right(w)


def _a_dtype_value_error(self, right, w):
    try:
        return right(w)
    except TypeError as error:
        raise (ValueError(*error.args) if " dtype" in str(error) else error) from None


def _lists_read(self, right, w):
    return right(np.asarray(w)) if isinstance(w, list) else right(w)


def _mask_forgotten(self, right, w):
    return right(w.data) if isinstance(w, np.ma.MaskedArray) else right(w)


def _matrix_read(self, right, w):
    return right(np.asarray(w)) if isinstance(w, np.matrix) else right(w)


def _none_ignored(self, right, w):
    return w if w is None else right(w)


def _attribute_error(self, right, w):
    return right(w.reshape(w.shape)) if isinstance(w, str) else right(w)


IN_CALLS = [
    Fault("ERR-3", "an axis beyond the last starts again", calling(_modulo), also=MUTE),
    Fault("ERR-3", "a dimension named by 1 and -1 counts once", calling(_once), also=MUTE),
    Fault("ERR-3", "a 0-d array is a slice along axis 0", calling(_one_slice), also=MUTE),
    Fault(
        "ERR-3",
        "violation takes any axis",
        lambda: implementation(MaxNorm={"violation": _violation_of_any_axis}),
        also=MUTE,
    ),
    Fault("ERR-3", "an axis that does not fit is an IndexError", calling(_index_error)),
    Fault("ERR-4", "integers become float64", calling(_integers_converted), also=MUTE),
    Fault("ERR-4", "unsigned bytes become float32", calling(_bytes_converted), also=MUTE),
    Fault("ERR-4", "NonNeg takes bool", calling(_bool_as_integer, "NonNeg"), ("NonNeg",)),
    Fault("ERR-4", "NonNeg takes the real part", calling(_real_part, "NonNeg"), ("NonNeg",)),
    Fault("ERR-4", "a wrong dtype is a ValueError", calling(_a_dtype_value_error)),
    Fault("ERR-5", "a list is read", calling(_lists_read)),
    Fault("ERR-5", "a mask is forgotten", calling(_mask_forgotten)),
    Fault("ERR-5", "a numpy.matrix is read", calling(_matrix_read)),
    Fault("ERR-5", "None comes back", calling(_none_ignored)),
    Fault("ERR-5", "a string is an AttributeError", calling(_attribute_error)),
    Fault("ERR-6", "the message about a dtype prints the array", calling(_printed)),
    Fault("ERR-6", "a complex dtype is not named", calling(_without_dtype)),
]
