"""Faults of further sliced constraints, on NumPy: one requirement each."""

from __future__ import annotations

import math

import numpy as np

from faults.further.base import fault, number, sliced_axis
from faults.further.exact import wide
from faults.further.sliced import (
    Halfspace,
    Hyperplane,
    Mean,
    Sphere,
    Standardized,
    Sum,
    ldexp,
)

# Norms, sums and means


def _with_epsilon(self, row, fmt):
    short, size, e = self.scaled(row)
    return short / (size + ldexp(1e-7, -e)) * self.radius if size else None


def _always_norm(self, row):
    short, size, e = Sphere.scaled(self, row)
    return short, size * math.sqrt(len(row)) if self.unit == "rms" else size, e


def _never(self, row, fmt):
    return False


def _in_own_precision(self, w):
    axes = tuple(i % w.ndim for i in _axes(self.axis, w.ndim))
    mean = np.mean(w, axis=axes, keepdims=True, dtype=w.dtype)
    moved = w - (mean - np.asarray(self.value, w.dtype))
    right = Mean.project(self, w)
    finite = np.isfinite(mean) & np.all(np.isfinite(right), axis=axes, keepdims=True)
    small = finite & (np.max(np.abs(w), axis=axes, keepdims=True, initial=0) < 100)
    kept = np.all(right == w, axis=axes, keepdims=True)
    return np.where(small & ~kept, moved, right) if w.size else right


def _axes(axis, ndim):
    return range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)


def _zeros_lose_their_sign(self, w):
    return Sum.project(self, w) + np.zeros((), w.dtype)


def _by_a_factor(self, row, fmt):
    if 1 / 64 <= np.max(np.abs(row)) <= 16 and self.total and abs(math.fsum(row)) > 0.1:
        return row * (self.total / math.fsum(row))
    return Sum.moved(self, row, fmt)


def _sum_reported(self, row, fmt):
    return Mean.away(self, row, fmt) * len(row)


def _forgiving(cls):
    def keeps(self, row, fmt):
        _, over, band, _ = self.measured(row, fmt)
        return abs(over) <= 30 * band

    return keeps


def _sums_overflow(self, row, fmt):
    with np.errstate(over="ignore", invalid="ignore"):
        total = row.astype(fmt.dtype).sum(dtype=fmt.dtype)
    return None if not np.isfinite(total) else Sum.moved(self, row, fmt)


# Standardized


def _deviation_with_epsilon(self, row, fmt):
    about, _, deviation, e = self.measured(row)
    return about / (deviation + ldexp(1e-5, -e)) if deviation and len(set(row)) > 1 else None


def _one_degree_less(self, row):
    about, mean, deviation, e = Standardized.measured(self, row)
    n = len(row)
    return about, mean, deviation * math.sqrt(n / (n - 1)) if n > 1 else deviation, e


def _constants_to_zero(self, w):
    right = Standardized.project(self, w)
    if not w.size:
        return right
    axes = tuple(i % w.ndim for i in _axes(self.axis, w.ndim)) if w.ndim else ()
    least, most = (f(w, axis=axes, keepdims=True) for f in (np.min, np.max))
    constant = (least == most) & np.isfinite(wide(most))
    return np.where(constant, np.zeros((), w.dtype), right)


def _constants_are_satisfied(self, row, fmt):
    return 0.0 if (row == row[0]).all() else Standardized.away(self, row, fmt)


# Half-spaces and hyperplanes


def _onto_the_boundary(self, row, fmt):
    _, over, band, _ = self.measured(row, fmt)
    return abs(over) <= band


def _by_the_norm(self, row, fmt):
    short, over, _, e = self.measured(row, fmt)
    a = self.coefficients(len(row))
    return np.ldexp(short - over / math.sqrt(math.fsum(a * a)) * a, e)


def _without_bound(self, n):
    return 0.0


def _first_number_alone(self, shape):
    """Take a normal of any length, which is repeated."""


def _repeated(self, n):
    return np.resize(np.asarray(self.normal, dtype=np.float64), n)


def _axis_first(self, axis=0, value=0.0):
    self.set(axis=sliced_axis(axis), value=number("value", value))


FAULTS = [
    fault(
        "SET-1",
        "an epsilon beside the norm",
        Sphere,
        "NUM-1 NUM-2 NUM-9 NUM-12 SET-3 SET-6 SET-7 VIO-3",
        moved=_with_epsilon,
    ),
    fault(
        "SET-1",
        "the norm where rms is asked for",
        Sphere,
        "NUM-1 NUM-2 NUM-8 NUM-12 SET-3 VIO-1",
        scaled=_always_norm,
    ),
    fault(
        "SET-1",
        "means in the weight's own precision",
        Mean,
        "ARR-13 ARR-6 NUM-1 NUM-2 NUM-9 SET-3 SET-4 SET-6 SET-7 SET-9 VIO-3",
        project=_in_own_precision,
    ),
    fault("VIO-1", "the violation of a mean is that of the sum", Mean, away=_sum_reported),
    fault("CFG-15", "the axis comes first", Mean, __init__=_axis_first),
    fault("NUM-14", "zeros lose their sign", Sum, project=_zeros_lose_their_sign),
    fault("SET-3", "slices are divided by their sum", Sum, "SET-4 SET-5", moved=_by_a_factor),
    fault(
        "NUM-8",
        "30 times the band is kept",
        Sum,
        "NUM-1 NUM-2 NUM-12 SET-1 SET-3 VIO-1",
        keeps=_forgiving(Sum),
    ),
    fault(
        "NUM-1",
        "sums overflow in the weight's dtype",
        Sum,
        "NUM-2 NUM-8 NUM-9 SET-9 VIO-3",
        moved=_sums_overflow,
    ),
    fault(
        "SET-1",
        "an epsilon beside the deviation",
        Standardized,
        "NUM-1 NUM-2 NUM-9 NUM-12 SET-3 SET-6 SET-7 VIO-3",
        moved=_deviation_with_epsilon,
    ),
    fault(
        "SET-1",
        "n - 1 in place of n",
        Standardized,
        "NUM-1 NUM-2 NUM-8 SET-3 VIO-1",
        measured=_one_degree_less,
    ),
    fault(
        "SET-12",
        "constant slices become zero",
        Standardized,
        "NUM-12",
        project=_constants_to_zero,
    ),
    fault(
        "VIO-6", "constant slices are satisfied", Standardized, away=_constants_are_satisfied
    ),
    fault(
        "SET-2",
        "allowed slices are moved",
        Halfspace,
        "NUM-1 NUM-12 NUM-5 SET-3 SET-4 SET-5 VIO-1 VIO-2 VIO-3",
        keeps=_onto_the_boundary,
    ),
    fault(
        "SET-3",
        "the bound is forgotten",
        Halfspace,
        "NUM-1 NUM-12 NUM-5 SET-2 SET-4 VIO-1 VIO-2",
        target=_without_bound,
    ),
    fault(
        "SET-1",
        "divided by the norm of the normal",
        Hyperplane,
        "NUM-1 NUM-12 NUM-2 NUM-8 NUM-9 SET-3 SET-4 SET-5 SET-6 SET-7 VIO-3",
        moved=_by_the_norm,
    ),
    fault(
        "ERR-9",
        "a normal of any length",
        Hyperplane,
        fit=_first_number_alone,
        coefficients=_repeated,
    ),
]
