"""Faults with arrays: what ARR-1 to ARR-12 are there to find."""

from __future__ import annotations

import ml_dtypes
import numpy as np

import array_constraints as ac
from faults.making import Fault, after, implementation


def without_writing(change):
    """Return attributes: ``change(constraint, w, right)``, but the right call for copy=False."""

    def call(self, w, *, copy=None):
        right = super(type(self), self).__call__
        self._accepted(w, copy)
        if copy is False or not w.size:
            return right(w, copy=copy)
        result = change(self, w, right)
        return result.copy() if copy else result

    return {"__call__": call}


def max_norm(attributes):
    return lambda: implementation(MaxNorm=attributes)


def unit_norm(attributes):
    return lambda: implementation(UnitNorm=attributes)


def non_neg(attributes):
    return lambda: implementation(NonNeg=attributes)


# ARR-1, ARR-2, ARR-3


def _squeezed(self, w, right):
    kept = [i for i in range(w.ndim) if i not in self.axes(w) and w.shape[i] == 1]
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


# ARR-6


def _rows_for_columns(self, w, right):
    """Take a matrix in Fortran order for its transpose."""
    if w.ndim == 2 and w.flags.f_contiguous and not w.flags.c_contiguous:
        return right(np.ascontiguousarray(w.T)).T if 0 in self.axes(w) else right(w)
    return right(w)


def _backwards(self, w, right):
    """Read an array with a negative stride from its other end."""
    return right(w[::-1])[::-1][::-1] if w.ndim and w.strides[0] < 0 else right(w)


def _stale_end(self, w, right):
    """Forget the end of each slice of a cube that is not in C order."""
    result = right(w)
    if w.ndim == 3 and not w.flags.c_contiguous:
        result = result.copy()
        result[..., -1] = w[..., -1]
    return result


# ARR-7, ARR-8


def _largest_of_nothing(self, w, *, copy=None):
    self._accepted(w, copy)
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


# ARR-9


def along(choose):
    """Return attributes: the slices run along ``choose(axis, ndim)`` where the axis is odd."""

    def change(self, w, right):
        axis = choose(self.axis, w.ndim) if w.ndim == 3 else self.axis
        return right(w) if axis == self.axis else _with_axis(self, axis)(w)

    return without_writing(change)


def _with_axis(constraint, axis):
    original = getattr(ac, type(constraint).__name__)
    return original.from_config({**constraint.get_config(), "axis": axis})


def _first_of_one(axis, ndim):
    return 0 if isinstance(axis, tuple) and len(axis) == 1 else axis


def _counted_from_the_axes(axis, ndim):
    """Count a negative axis of several from the number of axes."""
    if isinstance(axis, tuple) and len(axis) > 1:
        return tuple(i % len(axis) if i < 0 else i for i in axis)
    return axis


def _last_for_all(axis, ndim):
    return -1 if axis is None else axis


def _out_of_order(self, w, right):
    """Put the slices back as if their axes had been named in order."""
    axes = self.axis
    if not isinstance(axes, tuple) or w.ndim < 3 or tuple(sorted(axes)) == axes or min(axes) < 0:
        return right(w)
    kept = tuple(i for i in range(w.ndim) if i not in axes)
    turned = right(w).transpose(kept + axes)
    back = np.argsort(kept + tuple(sorted(axes)))
    return turned.reshape([w.shape[i] for i in kept + tuple(sorted(axes))]).transpose(back)


# ARR-10, ARR-11, ARR-12


def _epsilon_on_numpy(self, w, result):
    """Divide by the norm and an epsilon, on NumPy alone."""
    if not isinstance(w, np.ndarray) or w.dtype != np.float64:
        return result
    with np.errstate(all="ignore"):
        norm = np.sqrt(np.sum(w * w, axis=self.axes(w), keepdims=True))
        return w * (np.minimum(norm, self.max_value) / (norm + 1e-7))


def _nan_everywhere(self, w, result):
    """Elsewhere than on NumPy, a slice with NaN is NaN from end to end."""
    if isinstance(w, np.ndarray) or self.max_value > 16:
        return result
    xp = w.__array_namespace__()
    holes = xp.any(xp.isnan(w), axis=self.axes(w), keepdims=True)
    return xp.where(holes, xp.full_like(w, float("nan")), result)


def on_dask(change):
    """Return attributes for Dask: ``change(constraint, w)`` where some chunks are three."""

    def call(self, w, *, copy=None):
        right = super(type(self), self).__call__
        self._accepted(w, copy)
        several = not isinstance(w, np.ndarray) and any(n > 2 for n in w.numblocks)
        return change(w, right(w)) if several and not copy else right(w, copy=copy)

    return {"__call__": call}


def _third_chunk_left(w, result):
    return _joined(w, result, w)


def _joined(w, head, tail):
    """Return ``head`` up to the third chunk of each dimension, and then ``tail``."""
    import dask.array as da

    for axis, sizes in enumerate(w.chunks):
        cut = sum(sizes[:2])
        first, rest = ([slice(None)] * w.ndim for _ in range(2))
        first[axis], rest[axis] = slice(None, cut), slice(cut, None)
        head = da.concatenate([head[tuple(first)], tail[tuple(rest)]], axis=axis)
    return head.rechunk(w.chunks)


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


FAULTS = [
    Fault("ARR-1", "a dimension of length 1 is lost", max_norm(without_writing(_squeezed))),
    Fault("ARR-1", "a kernel comes back as a matrix", unit_norm(without_writing(_no_kernels)), ("UnitNorm",)),
    Fault(
        "ARR-2",
        "bfloat16 becomes float32",
        unit_norm(without_writing(_widened)),
        ("UnitNorm",),
        also=frozenset({"NUM-10", "NUM-12", "CALL-2"}),  # other bits than in bfloat16
    ),
    Fault(
        "ARR-2",
        "float64 becomes float32",
        unit_norm(without_writing(_narrowed)),
        ("UnitNorm",),
        also=frozenset({"NUM-10", "CALL-2"}),  # other bits than in float64
    ),
    Fault("ARR-3", "the result is of a type of its own", max_norm(without_writing(_own_type))),
    Fault(
        "ARR-3",
        "the result is a NumPy array",
        max_norm(without_writing(_unpacked)),
        library="array_api_strict",
    ),
    Fault("ARR-4", "float64 weights are worked on in place", max_norm(without_writing(_work_in_place)), also=frozenset({"CALL-5"})),
    Fault(
        "ARR-4",
        "float32 entries are clamped in place, too",
        non_neg(without_writing(_clamped_in_place)),
        ("NonNeg",),
        also=frozenset({"CALL-5"}),
    ),
    Fault("ARR-5", "a read-only weight is refused", max_norm(without_writing(_unlocked))),
    Fault("ARR-5", "a read-only weight comes back as it is", max_norm(without_writing(_locked_as_it_is))),
    Fault("ARR-6", "a matrix in Fortran order is its transpose", max_norm(without_writing(_rows_for_columns))),
    Fault("ARR-6", "a negative stride is read from the other end", max_norm(without_writing(_backwards))),
    Fault("ARR-6", "of a cube that is not in C order, the end is stale", max_norm(without_writing(_stale_end))),
    Fault("ARR-7", "nothing has no largest entry", max_norm({"__call__": _largest_of_nothing})),
    Fault("ARR-7", "an empty cube comes back flat", non_neg({"__call__": _flat_and_empty}), ("NonNeg",)),
    Fault("ARR-8", "a 0-d array comes back with a dimension", max_norm(without_writing(_at_least_one))),
    Fault("ARR-8", "a 0-d array is left alone", unit_norm(without_writing(_scalar_is_free)), ("UnitNorm",)),
    Fault("ARR-9", "a tuple of one axis is the first", max_norm(along(_first_of_one))),
    Fault("ARR-9", "negative axes are counted from their number", max_norm(along(_counted_from_the_axes))),
    Fault("ARR-9", "no axis is the last one of a cube", unit_norm(along(_last_for_all)), ("UnitNorm",)),
    Fault("ARR-9", "axes out of order are put back in order", max_norm(without_writing(_out_of_order))),
    Fault(
        "ARR-10",
        "an epsilon is added on NumPy",
        max_norm(after(_epsilon_on_numpy)),
        library="array_api_strict",
    ),
    Fault(
        "ARR-10",
        "NaN fills its slice elsewhere than on NumPy",
        max_norm(after(_nan_everywhere)),
        library="array_api_strict",
        also=frozenset({"NUM-10"}),
    ),
    Fault(
        "ARR-11",
        "entries in a third chunk are left alone",
        non_neg(on_dask(_third_chunk_left)),
        ("NonNeg",),
        library="dask.array",
    ),
    Fault("ARR-12", "integers pass through float32", non_neg(after(_through_float32)), ("NonNeg",)),
    Fault("ARR-12", "int8 is added to its magnitude", non_neg(after(_half_of_both)), ("NonNeg",)),
    Fault("ARR-12", "uint8 is taken for int8", non_neg(after(_unsigned_as_signed)), ("NonNeg",)),
]
