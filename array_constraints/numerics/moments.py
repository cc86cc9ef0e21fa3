"""The mean of each slice and the sum of squares about it, of blocks that are merged."""

from __future__ import annotations

from typing import Any, NamedTuple

from array_constraints.numerics import signed_sums, sums
from array_constraints.numerics.signed_sums import Pair, SignedSum
from array_constraints.numerics.sums import Sum
from array_constraints.typing import Array, Count, Namespace


class Moments(NamedTuple):
    """The sum of the part of each slice in a block, and the squares of what is beside its mean.

    Squares about the mean of the block do not cancel; those of two blocks are about the mean
    of both with the squared distance of their means added, which is not negative either.
    Source: T. F. Chan, G. H. Golub, R. J. LeVeque, *Algorithms for computing the sample
    variance: analysis and recommendations*.
    """

    entries: Count
    """The number of entries in each slice."""
    total: SignedSum
    """The sum of the entries."""
    squares: Sum
    """The sum of the squares of what the entries are beside their mean."""


def moments(block: Array, axes: tuple[int, ...], library: Any) -> Moments:
    """Return the moments of each slice of a block, which is read twice."""
    total, xp = signed_sums.signed_sum(block, axes, library, up=True), library.xp
    beside = library.by_slice(_beside, total, library.accumulated(block))
    if total.precision.any_order:
        value = xp.sum(beside * beside, axis=axes, keepdims=True)
    else:
        value = library.sum(beside * beside, axes)
    return Moments(total.entries, total, _squares(total, value, xp))


def _beside(v: Any, total: SignedSum, xp: Namespace) -> Any:
    return away(v, total, signed_sums.mean(total, xp))


def _squares(total: SignedSum, value: Any, xp: Namespace) -> Sum:
    """Return a sum of squares of scaled entries."""
    error = None if total.precision.any_order else xp.zeros_like(value)
    return Sum(total.entries, total.scale, value, error, total.precision, 2)


def away(v: Any, total: SignedSum, centre: Pair) -> Any:
    """Return what entries are beside their mean, at the scale of that."""
    v = v if total.scale is None else v * total.scale
    if total.precision.any_order:
        return (v - centre[0]) - centre[1]
    far, dropped = signed_sums.add_exactly(v, -centre[0])
    return far + (dropped - centre[1])


def merge(a: Moments, b: Moments, xp: Namespace) -> Moments:
    """Return the moments of two blocks of the same slices."""
    total = signed_sums.merge(a.total, b.total, xp)
    between = _between(a, b, total, xp)
    squares = sums.merge(sums.merge(a.squares, b.squares, xp), between, xp)
    return Moments(total.entries, total, squares._replace(entries=total.entries))


def _between(a: Moments, b: Moments, total: SignedSum, xp: Namespace) -> Sum:
    """Return what the distance of two means adds to the squares."""
    parts = [a.total, b.total]
    if total.scale is not None:
        parts = [signed_sums.at_scale(part, total.scale) for part in parts]
    (x, x_low), (y, y_low) = (signed_sums.mean(part, xp) for part in parts)
    far, dropped = signed_sums.add_exactly(x, -y)
    far = far + (dropped + (x_low - y_low))
    weight = a.entries * b.entries / signed_sums.count_of(a.entries + b.entries, xp)
    return _squares(total, far * far * weight, xp)._replace(entries=0)


def mean_square(measure: Moments, xp: Namespace) -> Any:
    """Return the mean square about the mean, at its scale."""
    return sums.total(measure.squares) / signed_sums.count_of(measure.entries, xp)


def variance(measure: Moments, xp: Namespace) -> Any:
    """Return the mean square about the mean: infinite, or 0, where it leaves the range."""
    found, scale = mean_square(measure, xp), measure.squares.scale
    return found if scale is None else found / scale / scale


def deviation(measure: Moments, xp: Namespace) -> Any:
    """Return the root mean square about the mean."""
    found, scale = xp.sqrt(mean_square(measure, xp)), measure.squares.scale
    return found if scale is None else found / scale


def has_direction(measure: Moments) -> Any:
    """Return which slices are finite, and have entries that differ."""
    return (measure.squares.value > 0) & signed_sums.is_finite(measure.total)


def divided(beside: Any, measure: Moments, moved: Any, xp: Namespace) -> Any:
    """Return scaled entries, minus their mean, divided by their root mean square."""
    square = xp.where(moved, mean_square(measure, xp), xp.ones_like(measure.squares.value))
    if measure.squares.scale is None:
        return beside * (1 / xp.sqrt(square))  # two roundoffs of a wider format
    return beside / xp.sqrt(square)


def band(total: SignedSum) -> Any:
    """Return how far from 1 a root mean square is where rounding alone is the reason.

    One roundoff u of the weight for rounding an entry. In the accumulator: L/2 + 3 for the root
    and the quotient, L/2 + 1.5 to measure it again, and 1.5 where blocks are merged. A sum in
    any order counts one for each entry, twice half of it.
    """
    precision, n = total.precision, total.entries
    length = n if isinstance(n, int) else 2**20
    steps = length + 8 if precision.any_order else max(length - 1, 0).bit_length() + 6
    own = precision.weight.roundoff * (1 + 1 / 128) if precision.narrows else 0.0
    return own + steps * precision.accumulator.roundoff
