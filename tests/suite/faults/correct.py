"""Right implementations, each written in another way: the suite must accept them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from array_constraints.executors.acceptance import accepted_by
from array_constraints.executors.run import deliver
from array_constraints.parameters import axes_of
from faults.making import implementation, in_its_byte_order
from faults.scratch import Guard, Rows, Slices, Steps, halves, within_range


def guarded(
    roundoffs: Callable[[Slices], float], working: str = "float64", **steps: Any
) -> Any:
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
    return np.sqrt(terms[:, 0]).astype(np.float64)


def in_own_dtype(s: Slices, values: Any) -> Any:
    return np.asarray(values).astype(np.float64 if s.dtype == "float64" else np.float32)


def divided_in_own_dtype(s: Slices, norms: np.ndarray, targets: np.ndarray) -> Rows:
    unit = in_own_dtype(s, s.scaled) / in_own_dtype(s, norms)[:, None]
    return unit * in_own_dtype(s, targets)[:, None]


def slice_by_slice() -> dict[str, Any]:
    """Return attributes: a loop over slices, and in each of them one over its entries."""

    def judged(s: Slices) -> Iterator[tuple[list[float], Decision]]:
        """Yield the entries of each slice, and what becomes of them."""
        (low, high), (short, long) = Guard().keeps(s), Guard().aims(s)
        for entries in s.values.tolist():
            size, exponent = hypotenuse(entries)
            if not 0 < size < math.inf:
                spoiled = math.nan if any(map(math.isnan, entries)) else math.inf
                yield entries, Decision(size, exponent, None, s.lower if size == 0 else spoiled)
            elif size > times_two_to(high, -exponent):
                away = times_two_to(size, exponent) - s.upper
                yield entries, Decision(size, exponent, long, away)
            elif size < times_two_to(low, -exponent):
                away = s.lower - times_two_to(size, exponent)
                yield entries, Decision(size, exponent, short, away)
            else:
                yield entries, Decision(size, exponent, None, 0.0)

    def call(constraint: Any, w: Any, *, copy: bool | None = None) -> Any:
        w, library = accepted_by(constraint, w, copy)
        s = within_range(Slices.of(constraint, w))
        if not w.size or s.rate == 0:
            return deliver(w, w, copy, library)
        rows = s.rows.copy()
        for row, (entries, found) in zip(rows, judged(s), strict=True):
            if found.target is not None:
                units = [math.ldexp(x, -found.exponent) / found.size for x in entries]
                share = [x * found.target * s.rate for x in units]
                stays = [x * (1 - s.rate) for x in entries]
                row[:] = [x + y if s.rate < 1 else x for x, y in zip(share, stays, strict=True)]
        return deliver(w, in_its_byte_order(w, s.restored(rows)), copy, library)

    def violation(constraint: Any, w: Any) -> Any:
        w, _ = accepted_by(constraint, w)
        lengths = [1 if i in axes_of(constraint, w) else n for i, n in enumerate(w.shape)]
        s = within_range(Slices.of(constraint, w))
        return np.asarray([found.distance for _, found in judged(s)]).reshape(lengths)

    return {"__call__": call, "violation": violation}


class Decision(NamedTuple):
    """The norm of a slice over a power of two, where it is to go, and how far that is."""

    size: float
    exponent: int
    target: float | None
    distance: float


def hypotenuse(entries: list[float]) -> tuple[float, int]:
    """Return the norm over a power of two, and its exponent: NaN or infinity as it is."""
    largest = max(map(abs, entries), default=0.0)
    if not all(map(math.isfinite, entries)):
        return math.hypot(*entries), 0
    exponent = math.frexp(largest)[1]
    return math.hypot(*(math.ldexp(x, -exponent) for x in entries)), exponent


def times_two_to(x: float, exponent: int) -> float:
    try:
        return math.ldexp(x, exponent)
    except OverflowError:
        return math.inf


def negative_zero(self: Any, w: Any, *, copy: bool | None = None) -> Any:
    """Return -0 for negative entries: it is zero, too."""
    w, library = accepted_by(self, w, copy)
    with np.errstate(invalid="ignore"):
        result = np.where(w < 0, np.negative(np.zeros_like(w)), w)
    return deliver(w, result.astype(w.dtype), copy, library)


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
    longer = guarded(
        lambda s: 3, norms=of_rows(in_longer_numbers), rescaled=scaled_by_one_factor
    )
    CORRECT.append(("longer numbers", norms(longer)))
