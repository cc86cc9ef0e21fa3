"""Constraints on the sum of each slice, met by a threshold: the simplex, the L1 ball."""

from __future__ import annotations

import sys
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

from array_constraints import parameters
from array_constraints.forms import Slicewise
from array_constraints.libraries import of_namespace
from array_constraints.numerics import brackets, masses
from array_constraints.numerics.brackets import Above, Bracket
from array_constraints.numerics.masses import Mass, Target
from array_constraints.typing import Array, Axis, AxisLike, Bound, Namespace, NumberLike


class _ThresholdConstraint(Slicewise):
    """A constraint on the sum of each slice, or of its magnitudes, met by a threshold.

    A subclass states the target. In memory, a library finds thresholds in its own way; where
    slices are read block by block, rounds measure what is above a few pivots.
    """

    rounds: ClassVar[int] = 10

    @property
    @abstractmethod
    def _target(self) -> Target:
        """The sum that is asked for, and whether it is one of magnitudes."""

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Mass:
        found: Mass = of_namespace(xp).thresholds.mass(block, axes, self._target.ball)
        return found

    def merge(self, a: Mass, b: Mass, xp: Namespace) -> Mass:
        return masses.merge(a, b, xp)

    def excess(self, measure: Mass, xp: Namespace) -> Array:
        return masses.excess(measure, self._target, xp)

    def next(self, measure: Mass, xp: Namespace) -> Slicewise | None:
        bracket = brackets.started(measure, self._target, of_namespace(xp).thresholds)
        return _Pivots(bracket, self.axis) if bool(xp.any(bracket.open)) else None

    def apply(self, block: Array, measure: Mass, xp: Namespace) -> Array:
        """Return the block: where there is no further round, no slice is projected."""
        return block

    def _project_at_once(self, w: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
        found: Array = of_namespace(xp).thresholds.projected(w, axes, self._target)
        return found

    def _stated_derivative(
        self, w: Array, tangent: Array, axes: tuple[int, ...], xp: Namespace
    ) -> Array:
        how = of_namespace(xp).thresholds
        found: Array = how.derivative(w, tangent, axes, self._target)
        return found


@dataclass(frozen=True, eq=False)
class _Pivots(Slicewise):
    """A round: what is above the pivots in the brackets around the thresholds of slices."""

    bracket: Bracket
    axis: Axis

    rounds: ClassVar[int] = _ThresholdConstraint.rounds

    def __post_init__(self) -> None:
        """Leave ``axis`` as it was judged."""

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Above:
        return brackets.above(block, self.bracket, axes, of_namespace(xp).thresholds)

    def merge(self, a: Above, b: Above, xp: Namespace) -> Above:
        return brackets.merge(a, b)

    def next(self, measure: Above, xp: Namespace) -> Slicewise | None:
        bracket = brackets.narrowed(self.bracket, measure, xp)
        return _Pivots(bracket, self.axis) if bool(xp.any(bracket.open)) else None

    def excess(self, measure: Above, xp: Namespace) -> Array:
        return xp.astype(self.bracket.moves, self.bracket.total.dtype)

    def apply(self, block: Array, measure: Above, xp: Namespace) -> Array:
        bracket = brackets.narrowed(self.bracket, measure, xp)
        return brackets.applied(block, bracket, (), of_namespace(xp).thresholds)


@final
@dataclass(frozen=True)
class Simplex(_ThresholdConstraint):
    r"""Bring each slice along ``axis`` to entries that are not negative and sum to ``total``.

    .. math::

        P(w) = \arg\min_x \lVert x - w \rVert_2 \ \text{where}\ x_i \ge 0,\ \sum_i x_i = s,
        \qquad P(w)_i = \max(w_i - \tau, 0)

    One number :math:`\tau` is taken off all entries of a slice, and what falls below 0 becomes
    0: with ``total=1``, each slice becomes a probability distribution, as ``sparsemax`` makes
    it. This is the nearest point, of a convex set: idempotent, non-expansive. To clip and to
    divide by the sum is not.

    Parameters
    ----------
    total
        The sum :math:`s`, positive and finite.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        At construction, if ``total`` is not positive and finite; on call, if ``axis`` does not
        fit the shape.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. With the roundoff u
    and the smallest normal number t of the dtype, and :math:`s \ge n t`: no entry is below 0,
    and the sum is off by at most :math:`u s` (:math:`3 u s` in float64) for any n, as the
    roundoff of each entry is relative to itself. A slice that is as close comes back bit for
    bit, so that a second call changes nothing. ``violation`` is the larger of
    :math:`|\sum_i w_i - s|` and :math:`-\min_i w_i`, or 0.

    A slice that holds NaN, or whose largest entry is infinite, stays; an entry of minus
    infinity becomes 0. The derivative, with k entries above 0 and a their indicator, is
    :math:`\operatorname{diag}(a) - a a^\top / k`, and the same for slices that are kept.

    In memory, about as much memory as ``w`` is held beside the result, and six times that of
    float32 under ``jit`` on JAX. Where slices are read block by block, as from files, they are
    measured in rounds: 3 to 7 reads in all.

    The algorithm is Newton's method, from an estimate: C. Michelot, "A finite algorithm for
    finding the projection of a point onto the canonical simplex of R^n", 1986.

    Examples
    --------
    >>> import numpy as np
    >>> Simplex()(np.asarray([[0.5, 2.0], [1.0, 0.5], [-1.0, 0.0]]))
    array([[0.25, 1.  ],
           [0.75, 0.  ],
           [0.  , 0.  ]])
    """

    total: Bound = 1.0
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, total: NumberLike = 1.0, axis: AxisLike = 0) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        total: Any = parameters.number("total", self.total, lower=0, upper=sys.float_info.max)
        if isinstance(total, int | float) and not total:
            raise ValueError(f"total must be positive, got {total!r}: only zeros sum to it")
        object.__setattr__(self, "total", total)

    @property
    def _target(self) -> Target:
        return Target(self.total, ball=False)


@final
@dataclass(frozen=True)
class L1Ball(_ThresholdConstraint):
    r"""Bring each slice along ``axis`` to a sum of magnitudes of at most ``radius``.

    .. math::

        P(w) = \arg\min_x \lVert x - w \rVert_2 \ \text{where}\ \sum_i |x_i| \le r,
        \qquad P(w)_i = \operatorname{sign}(w_i) \max(|w_i| - \tau, 0)

    One number :math:`\tau` is taken off all magnitudes of a slice that is outside, so that many
    entries become 0. This is the nearest point, of a convex set: idempotent, non-expansive.
    ``MaxNorm(order=1)`` rescales a slice to the same sum instead, and keeps its direction.

    Parameters
    ----------
    radius
        The largest sum of magnitudes :math:`r`, not negative.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        At construction, if ``radius`` is negative or NaN; on call, if ``axis`` does not fit the
        shape.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. With the roundoff u
    and the smallest normal number t of the dtype, and :math:`r \ge n t`: a projected slice is
    never outside, and its sum of magnitudes is at least :math:`r (1 - 2.001 u)`
    (:math:`r (1 - 6 u)` in float64). A slice inside comes back bit for bit, so that a second
    call changes nothing. ``violation`` is :math:`\max(0, \sum_i |w_i| - r)`.

    A slice that holds NaN or infinity stays. The derivative, with k entries that are not 0 and
    a their signs, is :math:`\operatorname{diag}(|a|) - a a^\top / k`; the identity inside.

    Memory and reads as for :class:`Simplex`.

    Examples
    --------
    >>> import numpy as np
    >>> L1Ball()(np.asarray([[0.5, 0.5], [-1.0, 0.25], [0.125, -0.125]])).round(6)
    array([[ 0.25 ,  0.5  ],
           [-0.75 ,  0.25 ],
           [ 0.   , -0.125]])
    """

    radius: Bound = 1.0
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, radius: NumberLike = 1.0, axis: AxisLike = 0) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        radius = parameters.number("radius", self.radius, lower=0)
        object.__setattr__(self, "radius", radius)

    @property
    def _target(self) -> Target:
        return Target(self.radius, ball=True)
