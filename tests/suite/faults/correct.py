"""Right implementations, each written in another way: the suite must accept them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from array_constraints.execution import deliver
from faults.making import implementation
from faults.scratch import Guard, Rows, Slices, Steps, halves


def guarded(roundoffs: Callable[[Slices], float], working: str = "float64", **steps: Any) -> Any:
    """Return attributes: these steps, with a margin of so many roundoffs."""
    guard = Guard(roundoffs, working)
    return Steps(keeps=guard.keeps, aims=guard.aims, **steps).attributes()


def of_rows(norms: Callable[[Rows], np.ndarray]) -> Callable[[Slices], np.ndarray]:
    return lambda s: norms(s.scaled)


def with_fsum(rows: Rows) -> np.ndarray:
    """Add the squares without a rounding error, by ``math.fsum``."""
    return np.asarray([math.sqrt(math.fsum(row)) for row in (rows * rows).tolist()])


def with_compensation(rows: Rows) -> np.ndarray:
    """Carry along what each addition drops (Neumaier)."""
    total, carry = np.zeros(len(rows)), np.zeros(len(rows))
    for column in (rows * rows).T:
        longer = total + column
        larger, smaller = np.maximum(total, column), np.minimum(total, column)
        carry += (larger - longer) + smaller
        total = longer
    return np.sqrt(total + carry)


def in_two_numbers(rows: Rows, block: int = 32) -> np.ndarray:
    """Hold squares and sums in two numbers each (Dekker), and add up blocks of entries."""
    high = np.zeros(len(rows))
    low = np.zeros(len(rows))
    for start in range(0, rows.shape[1], block):
        part = rows[:, start : start + block]
        square = part * part
        head = halves(part)
        tail = part - head
        error = ((head * head - square) + 2 * head * tail) + tail * tail
        for a, b in zip(square.T, error.T, strict=True):
            total = high + a
            back = total - high
            low += ((high - (total - back)) + (a - back)) + b
            high = total
    return np.sqrt(high + low)


def in_longer_numbers(rows: Rows) -> np.ndarray:
    """Add up in 64 digits."""
    squares = np.square(rows.astype(np.longdouble))
    return np.sqrt(np.sum(squares, axis=1))


def scaled_by_one_factor(s: Slices, norms: np.ndarray, targets: np.ndarray) -> Rows:
    """Multiply by one factor for each slice, in 64 digits, and round once."""
    factors = targets.astype(np.longdouble) / norms
    return (s.scaled.astype(np.longdouble) * factors[:, None]).astype(s.rows.dtype)


def halved_again_and_again(s: Slices) -> np.ndarray:
    """Return norms in the dtype of the weight, float32 at least: the sum is a binary tree."""
    terms = np.square(in_own_dtype(s, s.scaled))
    while terms.shape[1] > 1:
        odd = terms[:, -1:] if terms.shape[1] % 2 else terms[:, :0]
        terms = np.concatenate([terms[:, :-1:2] + terms[:, 1::2], odd], axis=1)
    return np.sqrt(terms[:, 0])


def in_own_dtype(s: Slices, values: Any) -> Any:
    return np.asarray(values).astype(np.float64 if s.dtype == "float64" else np.float32)


def divided_in_own_dtype(s: Slices, norms: np.ndarray, targets: np.ndarray) -> Rows:
    unit = in_own_dtype(s, s.scaled) / in_own_dtype(s, norms)[:, None]
    return unit * in_own_dtype(s, targets)[:, None]


def slice_by_slice() -> dict[str, Any]:
    """Return attributes: a loop over slices, and in each of them one over its entries."""

    def norm(entries: list[float]) -> tuple[float, int]:
        """Return the norm over a power of two, and its exponent."""
        exponent = math.frexp(max(map(abs, entries)))[1]
        return math.hypot(*(math.ldexp(x, -exponent) for x in entries)), exponent

    def each(constraint: Any, w: np.ndarray) -> Any:
        """Yield the index of each slice, with its entries."""
        axes = constraint.axes(w)
        lengths = [1 if i in axes else n for i, n in enumerate(w.shape)]
        for start in itertools.product(*map(range, lengths)):
            index = tuple(slice(None) if i in axes else j for i, j in enumerate(start))
            yield start, index, [float(x) for x in w[index].ravel()]

    def judged(constraint: Any, w: np.ndarray, entries: list[float]) -> tuple[float, float, float]:
        """Return the norm of a slice, the norm to bring it to, and the distance to the set."""
        s = Slices(np.zeros((1, len(entries)), w.dtype), *bounds_of(constraint, w))
        if any(map(math.isnan, entries)):
            return 1.0, 1.0, math.nan
        if any(map(math.isinf, entries)):
            return 1.0, 1.0, math.inf
        if not any(entries):
            return 1.0, 1.0, s.lower
        size, exponent = norm(entries)
        (low, high), (short, long) = Guard().keeps(s), Guard().aims(s)
        if size > times_two_to(high, -exponent):
            return size, long, times_two_to(size, exponent) - s.upper
        if size < times_two_to(low, -exponent):
            return size, short, s.lower - times_two_to(size, exponent)
        return 1.0, 1.0, 0.0

    def call(constraint: Any, w: Any, *, copy: bool | None = None) -> Any:
        w, xp = constraint._accepted(w, copy)
        result = w.copy()
        rate = constraint.interval().rate
        for _, index, entries in each(constraint, w) if w.size and rate else ():
            size, target, distance = judged(constraint, w, entries)
            if 0 < distance and (size, target) != (1.0, 1.0):
                exponent = math.frexp(max(map(abs, entries)))[1]
                units = [math.ldexp(x, -exponent) / size for x in entries]
                moved = [x * target * rate + y * (1 - rate) for x, y in zip(units, entries)]
                result[index] = np.asarray(moved).reshape(w[index].shape).astype(w.dtype)
        return deliver(w, result, copy, xp)

    def violation(constraint: Any, w: Any) -> Any:
        w, _ = constraint._accepted(w)
        lengths = [1 if i in constraint.axes(w) else n for i, n in enumerate(w.shape)]
        found = np.zeros(lengths)
        for start, _, entries in each(constraint, w) if w.size else ():
            found[start] = judged(constraint, w, entries)[2]
        return found

    return {"__call__": call, "violation": violation}


def bounds_of(constraint: Any, w: np.ndarray) -> tuple[float, float]:
    lower, upper, _ = constraint.interval()
    largest = Slices(np.zeros((1, 1), w.dtype), 0, 0).form.largest
    return float(lower), float(upper) if upper <= largest else math.inf


def times_two_to(x: float, exponent: int) -> float:
    try:
        return math.ldexp(x, exponent)
    except OverflowError:
        return math.inf


def negative_zero(self: Any, w: Any, *, copy: bool | None = None) -> Any:
    """Return -0 for negative entries: it is zero, too."""
    w, xp = self._accepted(w, copy)
    with np.errstate(invalid="ignore"):
        result = np.where(w < 0, np.negative(np.zeros_like(w)), w)
    return deliver(w, result.astype(w.dtype), copy, xp)


def norms(attributes: dict[str, Any], **others: Any) -> Callable[[], Any]:
    return lambda: implementation(norms=attributes, **others)


CORRECT = [
    ("exact squares", norms(Steps().attributes())),
    ("fsum", norms(guarded(lambda s: 7, norms=of_rows(with_fsum)))),
    ("compensated sums", norms(guarded(lambda s: 7, norms=of_rows(with_compensation)))),
    ("two numbers for one", norms(guarded(lambda s: 6, norms=of_rows(in_two_numbers)))),
    (
        "the weight's own dtype",
        norms(
            guarded(
                lambda s: s.levels + 7,
                "float32",
                norms=halved_again_and_again,
                rescaled=divided_in_own_dtype,
            )
        ),
    ),
    ("slice by slice", norms(slice_by_slice(), NonNeg={"__call__": negative_zero})),
]
if np.finfo(np.longdouble).nmant >= 63:
    longer = guarded(lambda s: 3, norms=of_rows(in_longer_numbers), rescaled=scaled_by_one_factor)
    CORRECT.append(("longer numbers", norms(longer)))
