"""Faults with arrays: what ARR-1 to ARR-14 are there to find."""

from __future__ import annotations

import ml_dtypes
import numpy as np

import array_constraints as ac
from array_constraints.executors.acceptance import accepted_by
from array_constraints.parameters import axes_of
from faults import layouts
from faults.making import Fault, after, implementation, without_writing
from faults.scratch import NONNEG, UNIT, of

# ARR-1, ARR-2, ARR-3


def _squeezed(self, w, right):
    kept = [i for i in range(w.ndim) if i not in axes_of(self, w) and w.shape[i] == 1]
    return right(w).squeeze(tuple(kept))


def _no_kernels(self, w, right):
    """Flatten the slices of an array of four dimensions, and return them so."""
    result = right(w)
    return result.reshape(w.shape[0], -1) if w.ndim == 4 else result


def _widened(self, w, right):
    return right(w.astype(np.float32) if w.dtype == ml_dtypes.bfloat16 else w)


def _narrowed(self, w, right):
    result = right(w)
    with np.errstate(over="ignore"):
        return result.astype(np.float32) if w.dtype == np.float64 else result


class Weights(np.ndarray):
    """An array of a type of its own."""


def _own_type(self, w, right):
    return right(w).view(Weights)


def _unpacked(self, w, right):
    return right(w) if isinstance(w, np.ndarray) else np.from_dlpack(right(w))


# ARR-4, ARR-5


def _work_in_place(self, w, right):
    """Use the weight as the place to work in, where float64 is what it holds already."""
    result = right(w)
    if w.dtype == np.float64 and w.flags.c_contiguous and w.flags.writeable:
        w[...] = result
    return result


def _clamped_in_place(self, w, right):
    result = right(w)
    if w.dtype == np.float32 and w.flags.writeable:
        np.copyto(w, 0, where=np.isfinite(w) & (w < 0))
    return result


def _unlocked(self, w, right):
    if not w.flags.writeable and w.ndim:
        raise ValueError("assignment destination is read-only")
    return right(w)


def _locked_as_it_is(self, w, right):
    return right(w) if w.flags.writeable else w


# ARR-7, ARR-8


def _largest_of_nothing(self, w, *, copy=None):
    accepted_by(self, w, copy)
    if not w.size and w.shape[0] == 0:
        raise ValueError("zero-size array to reduction operation maximum")
    return super(type(self), self).__call__(w, copy=copy)


def _flat_and_empty(self, w, *, copy=None):
    result = super(type(self), self).__call__(w, copy=copy)
    return result if w.size or w.ndim < 3 else result.reshape(-1)


def _at_least_one(self, w, right):
    return np.atleast_1d(right(w))


def _scalar_is_free(self, w, right):
    return right(w) if w.ndim else w.copy()


# ARR-12


def _through_float32(self, w, result):
    return result.astype(np.float32).astype(w.dtype) if w.dtype.kind in "iu" else result


def _half_of_both(self, w, result):
    """Add the magnitude and halve: the sum overflows."""
    with np.errstate(all="ignore"):
        return (w + np.abs(w)) // 2 if w.dtype == np.int8 else result


def _unsigned_as_signed(self, w, result):
    if w.dtype != np.uint8:
        return result
    signed = w.view(np.int8)
    return np.where(signed < 0, 0, signed).astype(w.dtype)


def _native(self, w, copy=None):
    result = ac.MaxNorm.__call__(self, w, copy=copy)
    return result.astype(result.dtype.newbyteorder("=")) if copy is None else result


_BUFFERS: dict[object, np.ndarray] = {}


def _buffered(self, w, result):
    key = (w.shape, w.dtype)
    buffer = _BUFFERS.setdefault(key, np.empty(w.shape, w.dtype))
    buffer[...] = result
    return buffer


FAULTS = [
    Fault(
        "ARR-1", "a dimension of length 1 is lost", of("MaxNorm", without_writing(_squeezed))
    ),
    Fault(
        "ARR-1",
        "a kernel comes back as a matrix",
        of("UnitNorm", without_writing(_no_kernels)),
        UNIT,
    ),
    Fault(
        "ARR-2",
        "bfloat16 becomes float32",
        of("UnitNorm", without_writing(_widened)),
        UNIT,
        also=frozenset({"NUM-10", "NUM-12", "CALL-2"}),  # other bits than in bfloat16
    ),
    Fault(
        "ARR-2",
        "float64 becomes float32",
        of("UnitNorm", without_writing(_narrowed)),
        UNIT,
        also=frozenset({"NUM-10", "CALL-2"}),  # other bits than in float64
    ),
    Fault(
        "ARR-3", "the result is of a type of its own", of("MaxNorm", without_writing(_own_type))
    ),
    Fault(
        "ARR-3",
        "the result is a NumPy array",
        of("MaxNorm", without_writing(_unpacked)),
        library="array_api_strict",
        also=frozenset({"NUM-9", "VIO-3"}),
    ),
    Fault(
        "ARR-4",
        "float64 weights are worked on in place",
        of("MaxNorm", without_writing(_work_in_place)),
        also=frozenset({"CALL-5"}),
    ),
    Fault(
        "ARR-4",
        "float32 entries are clamped in place, too",
        of("NonNeg", without_writing(_clamped_in_place)),
        NONNEG,
        also=frozenset({"CALL-5"}),
    ),
    Fault("ARR-5", "a read-only weight is refused", of("MaxNorm", without_writing(_unlocked))),
    Fault(
        "ARR-5",
        "a read-only weight comes back as it is",
        of("MaxNorm", without_writing(_locked_as_it_is)),
    ),
    Fault(
        "ARR-7",
        "nothing has no largest entry",
        of("MaxNorm", {"__call__": _largest_of_nothing}),
        also=frozenset({"CALL-1"}),  # which asks for nothing too
    ),
    Fault(
        "ARR-7",
        "an empty cube comes back flat",
        of("NonNeg", {"__call__": _flat_and_empty}),
        NONNEG,
    ),
    Fault(
        "ARR-8",
        "a 0-d array comes back with a dimension",
        of("MaxNorm", without_writing(_at_least_one)),
    ),
    Fault(
        "ARR-8",
        "a 0-d array is left alone",
        of("UnitNorm", without_writing(_scalar_is_free)),
        UNIT,
    ),
    Fault(
        "ARR-12", "integers pass through float32", of("NonNeg", after(_through_float32)), NONNEG
    ),
    Fault(
        "ARR-12", "int8 is added to its magnitude", of("NonNeg", after(_half_of_both)), NONNEG
    ),
    Fault(
        "ARR-12", "uint8 is taken for int8", of("NonNeg", after(_unsigned_as_signed)), NONNEG
    ),
    *layouts.FAULTS,
    Fault(
        "ARR-13",
        "the result is in the byte order of the machine",
        lambda: implementation(MaxNorm={"__call__": _native}),
    ),
    Fault(
        "ARR-14",
        "every result of a shape is in one buffer",
        lambda: implementation(MaxNorm=after(_buffered)),
        also=frozenset({"SET-6", "NUM-9", "VIO-3"}),  # they use the result again
    ),
]
