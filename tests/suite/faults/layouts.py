"""Faults of memory orders, axes, libraries and chunks: ARR-6, ARR-9 to ARR-11."""

from __future__ import annotations

import numpy as np

import array_constraints as ac
from array_constraints.executors.acceptance import accepted_by
from array_constraints.parameters import axes_of
from faults.making import Fault, after, without_writing
from faults.scratch import NONNEG, UNIT, of

# ARR-6


def _rows_for_columns(self, w, right):
    """Take a matrix in Fortran order for its transpose."""
    if w.ndim == 2 and w.flags.f_contiguous and not w.flags.c_contiguous:
        return right(np.ascontiguousarray(w.T)).T if 0 in axes_of(self, w) else right(w)
    return right(w)


def _backwards(self, w, right):
    """Read an array with a negative stride from its other end."""
    return right(w[::-1]) if w.ndim and w.strides[0] < 0 else right(w)


def _stale_end(self, w, right):
    """Forget the end of each slice of a cube that is not in C order."""
    result = right(w)
    if w.ndim == 3 and not w.flags.c_contiguous:
        result = result.copy()
        result[..., -1] = w[..., -1]
    return result


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
    if (
        not isinstance(axes, tuple)
        or w.ndim < 3
        or tuple(sorted(axes)) == axes
        or min(axes) < 0
    ):
        return right(w)
    kept = tuple(i for i in range(w.ndim) if i not in axes)
    turned = right(w).transpose(kept + axes)
    back = np.argsort(kept + tuple(sorted(axes)))
    return turned.reshape([w.shape[i] for i in kept + tuple(sorted(axes))]).transpose(back)


# ARR-10, ARR-11


def _epsilon_on_numpy(self, w, result):
    """Divide by the norm and an epsilon, on NumPy alone."""
    if not isinstance(w, np.ndarray) or w.dtype != np.float64:
        return result
    with np.errstate(all="ignore"):
        norm = np.sqrt(np.sum(w * w, axis=axes_of(self, w), keepdims=True))
        return w * (np.minimum(norm, self.max_value) / (norm + 1e-7))


def _nan_everywhere(self, w, result):
    """Elsewhere than on NumPy, a slice with NaN is NaN from end to end."""
    if isinstance(w, np.ndarray) or self.max_value > 16:
        return result
    xp = w.__array_namespace__()
    holes = xp.any(xp.isnan(w), axis=axes_of(self, w), keepdims=True)
    return xp.where(holes, xp.full_like(w, float("nan")), result)


def on_dask(change):
    """Return attributes: ``change(w, result)`` of a Dask array with three chunks in a row."""

    def call(self, w, *, copy=None):
        right = super(type(self), self).__call__
        accepted_by(self, w, copy)
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


FAULTS = [
    Fault(
        "ARR-6",
        "a matrix in Fortran order is its transpose",
        of("MaxNorm", without_writing(_rows_for_columns)),
    ),
    Fault(
        "ARR-6",
        "a negative stride is read from the other end",
        of("MaxNorm", without_writing(_backwards)),
    ),
    Fault(
        "ARR-6",
        "of a cube that is not in C order, the end is stale",
        of("MaxNorm", without_writing(_stale_end)),
    ),
    Fault("ARR-9", "a tuple of one axis is the first", of("MaxNorm", along(_first_of_one))),
    Fault(
        "ARR-9",
        "negative axes are counted from their number",
        of("MaxNorm", along(_counted_from_the_axes)),
    ),
    Fault(
        "ARR-9", "no axis is the last one of a cube", of("UnitNorm", along(_last_for_all)), UNIT
    ),
    Fault(
        "ARR-9",
        "axes out of order are put back in order",
        of("MaxNorm", without_writing(_out_of_order)),
    ),
    Fault(
        "ARR-10",
        "an epsilon is added on NumPy",
        of("MaxNorm", after(_epsilon_on_numpy)),
        library="array_api_strict",
    ),
    Fault(
        "ARR-10",
        "NaN fills its slice elsewhere than on NumPy",
        of("MaxNorm", after(_nan_everywhere)),
        library="array_api_strict",
        also=frozenset({"NUM-10"}),
    ),
    Fault(
        "ARR-11",
        "entries in a third chunk are left alone",
        of("NonNeg", on_dask(_third_chunk_left)),
        NONNEG,
        library="dask.array",
    ),
]
