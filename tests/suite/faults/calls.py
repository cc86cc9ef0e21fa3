"""Faults of the argument ``copy``: one requirement of the family CALL each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from faults.making import Fault, implementation

_UNSET: Any = object()


def calling(change: Callable[..., Any]) -> dict[str, Any]:
    """Return attributes: ``change(right, w, copy)`` is the call, ``right`` the right one."""

    def call(self: Any, w: Any, *, copy: Any = None) -> Any:
        return change(super(type(self), self).__call__, w, copy)

    return {"__call__": call}


def told(change: Callable[..., Any]) -> dict[str, Any]:
    """Return attributes as ``calling``, where ``copy`` is ``_UNSET`` unless it is given."""

    def call(self: Any, w: Any, *, copy: Any = _UNSET) -> Any:
        return change(super(type(self), self).__call__, w, copy)

    return {"__call__": call}


def of_max_norm(attributes: dict[str, Any]) -> Callable[[], Any]:
    return lambda: implementation(MaxNorm=attributes)


def _satisfied_itself(right, w, copy):
    result = right(w, copy=copy)
    return w if copy and result.tobytes() == w.tobytes() else result


def _satisfied_view(right, w, copy):
    """Return a view where nothing changes, for bfloat16 alone."""
    result = right(w, copy=copy)
    kept = w.dtype == ml_dtypes.bfloat16 and result.tobytes() == w.tobytes()
    return w[...] if copy and kept else result


def _one_bit_further(right, w, copy):
    result = right(w, copy=copy)
    if copy and w.dtype == np.float64:
        moved = (result != w) & np.isfinite(w)
        result[moved] = np.nextafter(result[moved], 0.0)
    return result


def _through_ravel(right, w, copy):
    """Write into what ``ravel`` returns: a copy unless the weight is in C order."""
    if copy is not False or not w.flags.writeable or 0 in w.strides:
        return right(w, copy=copy)
    result = right(w)
    w.ravel()[...] = result.ravel()
    return w


def _whole_blocks_only(right, w, copy):
    """Write blocks of 32 columns, and forget what is left of them."""
    if copy is not False:
        return right(w, copy=copy)
    before = w.copy()
    right(w, copy=False)
    done = w.shape[-1] // 32 * 32 if w.ndim else 0
    if done:
        w[..., done:] = before[..., done:]
    return w


def _one_entry_too_many(right, w, copy):
    """Write one entry past the end of each row of a window, the last row excepted."""
    result = right(w, copy=copy)
    if copy is False and w.ndim == 2 and w.strides[1] == w.itemsize:
        rows, columns = w.shape
        if w.strides[0] > columns * w.itemsize:
            longer = np.lib.stride_tricks.as_strided(w, (rows - 1, columns + 1), w.strides)
            longer[:, -1] = 0
    return result


def _written_and_copied(right, w, copy):
    result = right(w, copy=copy)
    return result.copy() if copy is False else result


def _other_storage(right, w, copy):
    """Give the tensor new storage: whoever holds the old one does not see the result."""
    if copy is not False:
        return right(w, copy=copy)
    before = w.clone()
    after = right(w, copy=False).clone()
    w.copy_(before)
    w.data = after
    return w


def _unlocked(right, w, copy):
    if copy is False and w.base is None and not w.flags.writeable:
        w.flags.writeable = True
    return right(w, copy=copy)


def _refused_too_late(right, w, copy):
    if copy is False and w.flags.writeable and w.size > 1 and 0 in w.strides:
        w[...] = right(w)
    return right(w, copy=copy)


def _leaf_without_grad(right, w, copy):
    if copy is False and w.is_leaf and w.requires_grad:
        right(w.detach(), copy=False)
        return w
    return right(w, copy=copy)


def _lazily_all_the_same(right, w, copy):
    return right(w, copy=None if copy is False else copy)


def _equal_to_a_bool(right, w, copy):
    """Ask with ``in``, to which 1 is ``True`` and 0 is ``False``."""
    return (
        right(w, copy=None if copy is None else bool(copy)) if _in(copy) else right(w, copy="")
    )


def _in(copy):
    return any(copy is known or (copy == known) is True for known in (None, True, False))


def _numpy_bool(right, w, copy):
    return right(w, copy=bool(copy) if isinstance(copy, np.bool_) else copy)


def _another_error(right, w, copy):
    if isinstance(copy, str):
        raise ValueError(f"copy must be None, True or False, got {copy!r}")
    return right(w, copy=copy)


def _none_in_float32(right, w, copy):
    if copy is None and w.dtype == np.float64:
        with np.errstate(over="ignore"):
            return right(w.astype(np.float32)).astype(np.float64)
    return right(w, copy=None if copy is _UNSET else copy)


def _none_one_bit_further(right, w, copy):
    if copy is _UNSET:
        return right(w)
    return _one_bit_further(right, w, True) if copy is None else right(w, copy=copy)


def _none_is_false(right, w, copy):
    if copy is None and w.flags.writeable and 0 not in w.strides:
        return right(w, copy=False)
    return right(w, copy=None if copy is _UNSET else copy)


FAULTS = [
    Fault(
        "CALL-1",
        "copy=True returns a satisfied weight itself",
        of_max_norm(calling(_satisfied_itself)),
    ),
    Fault(
        "CALL-1",
        "copy=True returns a view of a satisfied bfloat16 weight",
        of_max_norm(calling(_satisfied_view)),
    ),
    Fault(
        "CALL-1",
        "copy=True is one bit off the default call in float64",
        of_max_norm(calling(_one_bit_further)),
    ),
    Fault(
        "CALL-2",
        "copy=False writes into a copy unless the weight is in C order",
        of_max_norm(calling(_through_ravel)),
    ),
    Fault(
        "CALL-2",
        "copy=False forgets the last columns where their number is no multiple of 32",
        of_max_norm(calling(_whole_blocks_only)),
    ),
    Fault(
        "CALL-2",
        "copy=False writes one entry beyond the rows of a window",
        of_max_norm(calling(_one_entry_too_many)),
    ),
    Fault(
        "CALL-2",
        "copy=False returns a copy of what it wrote",
        of_max_norm(calling(_written_and_copied)),
    ),
    Fault(
        "CALL-2",
        "copy=False gives a tensor other storage than the array that it is a part of",
        of_max_norm(calling(_other_storage)),
        library="torch",
    ),
    Fault(
        "CALL-3",
        "copy=False unlocks a read-only array",
        of_max_norm(calling(_unlocked)),
    ),
    Fault(
        "CALL-3",
        "an expanded array is refused after it was written",
        of_max_norm(calling(_refused_too_late)),
    ),
    Fault(
        "CALL-3",
        "copy=False writes into a leaf that requires grad",
        of_max_norm(calling(_leaf_without_grad)),
        library="torch",
    ),
    Fault(
        "CALL-3",
        "copy=False returns a new array where arrays are lazy",
        lambda: implementation(NonNeg=calling(_lazily_all_the_same)),
        constraints=("NonNeg",),
        library="dask.array",
    ),
    Fault("CALL-4", "copy=1 and copy=0 are accepted", of_max_norm(calling(_equal_to_a_bool))),
    Fault("CALL-4", "copy takes the bool of NumPy", of_max_norm(calling(_numpy_bool))),
    Fault("CALL-4", "copy='yes' is a ValueError", of_max_norm(calling(_another_error))),
    Fault(
        "CALL-5",
        "copy=None takes float64 through float32",
        of_max_norm(told(_none_in_float32)),
        also=frozenset({"CALL-6"}),
    ),
    Fault(
        "CALL-5",
        "copy=None is one bit off in float64",
        of_max_norm(told(_none_one_bit_further)),
        also=frozenset({"CALL-6"}),
    ),
    Fault("CALL-5", "copy=None writes into the weight", of_max_norm(told(_none_is_false))),
]
