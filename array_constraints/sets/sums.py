"""Constraints on the sum, the mean and the spread of each slice."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from array_constraints import parameters
from array_constraints.forms import Slicewise
from array_constraints.libraries import of_namespace
from array_constraints.numerics import signed_sums
from array_constraints.numerics.signed_sums import Pair, SignedSum
from array_constraints.typing import Array, Axis, AxisLike, Bound, BoundLike, Namespace


class _SumConstraint(Slicewise):
    """A constraint that shifts all entries of a slice alike, so that they add up to something.

    A subclass states the mean that entries should have, and says its violation.
    """

    @property
    @abstractmethod
    def _goal(self) -> Any:
        """The sum or the mean that is asked for: a number, or one for each slice."""

    @abstractmethod
    def _target(self, measure: SignedSum, goal: Any, xp: Namespace) -> Pair:
        """Return the mean that scaled entries should have, where the scaled goal is given."""

    @abstractmethod
    def _violation(self, distance: Any, measure: SignedSum, xp: Namespace) -> Any:
        """Return the violation of slices whose scaled mean is off by a distance."""

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> SignedSum:
        return signed_sums.signed_sum(block, axes, of_namespace(xp), self._goal)

    def merge(self, a: SignedSum, b: SignedSum, xp: Namespace) -> SignedSum:
        return signed_sums.merge(a, b, xp)

    def excess(self, measure: SignedSum, xp: Namespace) -> Array:
        distance, outside, _, _ = self._found(measure, xp)
        shown = self._violation(distance, measure, xp)
        found = xp.where(outside, not_zero(shown, measure, xp), xp.zeros_like(shown))
        return xp.where(signed_sums.is_finite(measure), found, measure.magnitude)

    def apply(self, block: Array, measure: SignedSum, xp: Namespace) -> Array:
        library, scale = of_namespace(xp), measure.scale
        _, outside, centre, target = self._found(measure, xp)
        moved = outside & signed_sums.is_finite(measure)
        v: Any = library.accumulated(library.fence(block))
        v = v if scale is None else v * scale
        v = signed_sums.shifted(v, measure, centre, target)
        v = v if scale is None else v / scale
        return xp.where(moved, xp.astype(v, block.dtype, copy=False), block)

    def _found(self, measure: SignedSum, xp: Namespace) -> tuple[Any, Any, Pair, Pair]:
        """Return how far means are off, which are outside, the means, and what they should be.

        Outside are those that are off by more than rounding alone leaves of a slice that was
        moved: this is decided here alone.
        """
        library, scale = of_namespace(xp), measure.scale
        goal = library.operand(self._goal, measure.value)
        if scale is not None:
            goal = goal * scale
        elif isinstance(goal, float):  # beyond what any sum is, it overflows all the same
            goal = min(max(goal, -_BEYOND), _BEYOND)
        centre = signed_sums.mean(measure, xp)
        target = self._target(measure, xp.ones_like(measure.value) * goal, xp)
        off, dropped = signed_sums.add_exactly(centre[0], -target[0])
        off = off + (dropped + (centre[1] - target[1]))
        distance = xp.abs(off) if self._side is None else off * self._side
        return distance, distance > band_of(measure, library), centre, target

    def _stated_derivative(
        self, w: Array, tangent: Array, axes: tuple[int, ...], xp: Namespace
    ) -> Array:
        """Return the tangent minus its mean, also where a slice is kept: the set is flat."""
        library = of_namespace(xp)
        wide: Any = library.accumulated(tangent)
        if self._side is None:
            moved = library.sum_of_magnitudes(w, axes).value < math.inf
        else:
            measure = self.measure(w, axes, xp)
            moved = self._found(measure, xp)[1] & signed_sums.is_finite(measure)
        n = signed_sums.count_of(library.count(w, axes), xp)
        mean = xp.sum(wide, axis=axes, keepdims=True) / n
        return xp.astype(xp.where(moved, wide - mean, wide), tangent.dtype, copy=False)

    @property
    def _side(self) -> Any:
        """1 or -1 where a sum is allowed below or above the goal, too; data may say which."""
        return None


_BEYOND = 2.0**900


def band_of(measure: SignedSum, library: Any) -> Any:
    """Return how far a mean may be off where rounding alone is the reason."""
    precision, scale = measure.precision, measure.scale
    relative = signed_sums.roundoffs_of_shifted(measure) * precision.weight.roundoff
    n = signed_sums.count_of(measure.entries, library.xp)
    least: Any = signed_sums.least_of(precision, library.flushes())
    return measure.magnitude * relative / n + (least if scale is None else scale * least)


def not_zero(violation: Any, measure: Any, xp: Namespace) -> Any:
    """Return a violation that is not 0 where a slice is moved, though it may round to that."""
    least = measure.precision.accumulator.smallest_normal
    return xp.where(violation > 0, violation, xp.full_like(violation, least))


@final
@dataclass(frozen=True)
class Mean(_SumConstraint):
    r"""Shift each slice along ``axis`` so that the mean of its entries is ``value``.

    .. math::

        P(w) = \arg\min_x \lVert x - w \rVert_2 \ \text{where}\ \bar x = m,
        \qquad P(w) = w - \bar w + m

    This is the nearest point, of a convex set: idempotent, non-expansive.

    Parameters
    ----------
    value
        The mean :math:`m`, finite. A sequence gives each slice its own, in C order of the
        dimensions that ``axis`` leaves.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        At construction, if ``value`` is not finite; on call, if ``axis`` or the number of means
        does not fit the shape.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. With the roundoff u
    and the smallest normal number t of the dtype, the sum of the entries of a result x is off
    by at most :math:`1.01 u \sum |x_i| + n u t` (1.05 from n = 2**18 on, and 3.05 in float64),
    and a slice whose sum is that close comes back bit for bit, so that a second call changes
    nothing. ``violation`` is :math:`|\bar w - m|`. A slice holding NaN or infinity stays; an
    entry beyond the largest number of the dtype becomes infinite. The derivative, of slices
    that are kept as well, is that of :math:`w - \bar w`.

    Two reads and one write, and three numbers for each slice beside them.

    Examples
    --------
    >>> import numpy as np
    >>> Mean()(np.asarray([[3.0, 1.0], [5.0, -1.0]]))
    array([[-1.,  1.],
           [ 1., -1.]])
    """

    value: Bound = 0.0
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, value: BoundLike = 0.0, axis: AxisLike = 0) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "value", parameters.finite("value", self.value))

    @property
    def _goal(self) -> Any:
        return self.value

    def _target(self, measure: SignedSum, goal: Any, xp: Namespace) -> Pair:
        return goal, 0.0

    def _violation(self, distance: Any, measure: SignedSum, xp: Namespace) -> Any:
        return distance if measure.scale is None else distance / measure.scale


@final
@dataclass(frozen=True)
class Sum(_SumConstraint):
    r"""Shift each slice along ``axis`` so that its entries add up to ``total``.

    .. math::

        P(w) = \arg\min_x \lVert x - w \rVert_2 \ \text{where}\ \sum_i x_i = s,
        \qquad P(w) = w - \frac{1}{n} \Bigl( \sum_i w_i - s \Bigr)

    This is the nearest point, of a convex set: idempotent, non-expansive. Entries may be
    negative: all are shifted alike.

    Parameters
    ----------
    total
        The sum :math:`s`, finite. A sequence gives each slice its own, in C order of the
        dimensions that ``axis`` leaves.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        At construction, if ``total`` is not finite; on call, if ``axis`` or the number of
        totals does not fit the shape.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    As for :class:`Mean`: the sum is off by at most :math:`1.01 u \sum |x_i| + n u t`, a slice
    whose sum is that close comes back bit for bit, and one that holds NaN or infinity does,
    too. ``violation`` is :math:`|\sum_i w_i - s|`.

    Examples
    --------
    >>> import numpy as np
    >>> Sum()(np.asarray([[3.0, 0.5], [5.0, 0.5]]))
    array([[-0.5,  0.5],
           [ 1.5,  0.5]])
    """

    total: Bound = 1.0
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, total: BoundLike = 1.0, axis: AxisLike = 0) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "total", parameters.finite("total", self.total))

    @property
    def _goal(self) -> Any:
        return self.total

    def _target(self, measure: SignedSum, goal: Any, xp: Namespace) -> Pair:
        whole = goal, xp.zeros_like(goal)
        return signed_sums.divided(whole, measure.entries, measure.precision, xp)

    def _violation(self, distance: Any, measure: SignedSum, xp: Namespace) -> Any:
        total = distance * signed_sums.count_of(measure.entries, xp)
        return total if measure.scale is None else total / measure.scale


@dataclass(frozen=True)
class SideOfSum(_SumConstraint):
    """The slices whose sum is on one side of ``total``, or ``total`` itself."""

    total: Any
    side: Any
    axis: Axis

    def __post_init__(self) -> None:
        """Leave ``axis`` as it was judged: this is made at each call."""

    @property
    def _side(self) -> Any:
        return self.side

    _goal = Sum._goal
    _target = Sum._target
    _violation = Sum._violation
