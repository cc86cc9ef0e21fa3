"""Sums that measures are made of: named here, and made by each library in its own way.

A reduction takes a block of a weight and the axes that its slices run along, and returns one
entry for each slice, dimensions kept. How exact each is stands in its docstring, and holds on
every library, for any length and order of memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from array_constraints.libraries import of, of_namespace
from array_constraints.numerics import margins, sums
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.margins import Number
from array_constraints.numerics.rescaling import MeanSize, Size
from array_constraints.numerics.sums import Sum
from array_constraints.typing import Array, Count, Namespace

Measure = TypeVar("Measure", "Sum", "Largest")

__all__ = [
    "Largest",
    "Size",
    "Sum",
    "accumulated",
    "count",
    "largest_magnitude",
    "merge",
    "norm",
    "root_mean_square",
    "roundoffs_of_norm",
    "roundoffs_of_sum",
    "sum",
    "sum_of_magnitudes",
    "sum_of_squares",
]


def count(block: Array, axes: tuple[int, ...], xp: Namespace) -> Count:
    """Return how many entries of ``block`` each slice has: an ``int``, or a lazy array.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> reductions.count(np.ones((3, 4)), (0,), np)
    3
    """
    return of_namespace(xp).count(block, axes)


def accumulated(w: Array, xp: Namespace) -> Array:
    """Return ``w`` in the dtype to add up in: float64 where library and device have it.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> reductions.accumulated(np.ones(2, dtype="float16"), np).dtype
    dtype('float64')
    """
    return of_namespace(xp).accumulated(w)


def sum(  # noqa: A001 - used as reductions.sum
    block: Array, axes: tuple[int, ...], xp: Namespace
) -> Array:
    """Return the sum of each slice in the accumulator's dtype.

    Within L + 1 roundoffs of the sum of magnitudes, L = ceil(log2 n); where float64 adds up n
    entries of a narrower dtype, within n of its own, less than one of that dtype up to 2**29.
    The form adds the sums of blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> reductions.sum(np.asarray([[1.0], [2.0]], dtype="float32"), (0,), np)
    array([[3.]])
    """
    return of_namespace(xp).sum(block, axes)


def sum_of_magnitudes(block: Array, axes: tuple[int, ...], xp: Namespace) -> Sum:
    """Return the sum of magnitudes of each slice, the L1 norm: within L + 1 roundoffs.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> block = np.asarray([[-1.0], [2.0]], dtype="float32")
    >>> reductions.sum_of_magnitudes(block, (0,), np).value
    array([[3.]])
    """
    return of_namespace(xp).sum_of_magnitudes(block, axes)


def sum_of_squares(block: Array, axes: tuple[int, ...], xp: Namespace) -> Sum:
    """Return the sum of squares of each slice; its root is within L/2 + 1.5 roundoffs.

    No square leaves the range, however large or small the entries are.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> reductions.sum_of_squares(np.asarray([[3.0], [4.0]], dtype="float32"), (0,), np).value
    array([[25.]])
    """
    return of_namespace(xp).sum_of_squares(block, axes)


class Largest(NamedTuple):
    """The largest magnitude of the part of each slice in a block."""

    entries: Count
    """The number of entries in each slice."""
    value: Array
    """The largest magnitude, in the accumulator's dtype: exact."""
    precision: Precision
    """The formats of the weight and of the accumulator."""


def largest_magnitude(block: Array, axes: tuple[int, ...], xp: Namespace) -> Largest:
    """Return the largest magnitude of each slice, exactly; 0 where it has no entries.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> reductions.largest_magnitude(np.asarray([[-3.0], [2.0]]), (0,), np).value
    array([[3.]])
    """
    library = of_namespace(xp)
    value = library.accumulated(library.largest_magnitude(block, axes))
    return Largest(library.count(block, axes), value, library.precision(block))


def merge(a: Measure, b: Measure, xp: Namespace) -> Measure:
    """Return what was reduced of two blocks of the same slices, taken together.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> a = reductions.sum_of_squares(np.asarray([[3.0]]), (0,), np)
    >>> b = reductions.sum_of_squares(np.asarray([[4.0]]), (0,), np)
    >>> reductions.merge(a, b, np).value
    array([[25.]])
    """
    if isinstance(a, Largest) and isinstance(b, Largest):
        return Largest(a.entries + b.entries, xp.maximum(a.value, b.value), a.precision)
    return sums.merge(a, b, xp)


def norm(measure: Any, xp: Namespace) -> Size:
    """Return the norm that a measure stands for.

    L1 of a sum of magnitudes, Euclidean of squares, L-infinity of the largest magnitude.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> block = np.asarray([[3.0], [4.0]], dtype="float32")
    >>> reductions.norm(reductions.sum_of_squares(block, (0,), np), np)
    Size(value=array([[25.]]), scale=None, power=2)
    """
    if isinstance(measure, Largest):
        return Size(measure.value)
    return Size(sums.total(measure), measure.scale, measure.power)


def root_mean_square(measure: Any, xp: Namespace) -> Size:
    """Return the root mean square that a sum of squares stands for: norm / sqrt(n).

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> block = np.asarray([[3.0], [4.0]], dtype="float32")
    >>> reductions.root_mean_square(reductions.sum_of_squares(block, (0,), np), np).value
    array([[12.5]])
    """
    return MeanSize(sums.total(measure) / measure.entries, measure.scale, measure.power)


def roundoffs_of_sum(entries: Count, precision: Precision) -> Number:
    """Return how many roundoffs of the accumulator a sum of magnitudes may be off."""
    return margins.roundoffs_of_sum(tree_depth(entries), precision)


def roundoffs_of_norm(entries: Count, precision: Precision) -> Number:
    """Return how many roundoffs of the accumulator a Euclidean norm may be off.

    Or a root mean square: its division is in what that number is rounded up by.
    """
    return margins.roundoffs_of_norm(tree_depth(entries), precision)


def tree_depth(entries: Count) -> Number:
    """Return L = ceil(log2 n), the depth of a tree of additions."""
    return margins.tree_depth(entries, None if isinstance(entries, int) else of(entries).xp)


def power_of(form: Any) -> int | None:
    """Return the power that entries are raised to, if the size of a form is one from here.

    1 for a sum of magnitudes, 2 for one of squares; None where measure or size are its own.
    """
    powers: dict[object, int] = {sum_of_magnitudes: 1, sum_of_squares: 2}
    return powers.get(form.measure) if form.size in (norm, root_mean_square) else None
