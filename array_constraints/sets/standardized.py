"""Slices of mean 0 and root mean square 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from array_constraints.forms import Slicewise
from array_constraints.libraries import of_namespace
from array_constraints.numerics import moments, signed_sums
from array_constraints.numerics.moments import Moments
from array_constraints.numerics.signed_sums import Pair
from array_constraints.sets.sums import band_of
from array_constraints.typing import Array, Axis, AxisLike, Namespace


@final
@dataclass(frozen=True)
class Standardized(Slicewise):
    r"""Shift and rescale each slice along ``axis`` to mean 0 and root mean square 1.

    .. math::

        P(w) = \arg\min_x \lVert x - w \rVert_2
        \ \text{where}\ \bar x = 0,\ \overline{x^2} = 1, \qquad
        P(w) = \frac{w - \bar w}{\sqrt{\overline{(w - \bar w)^2}}}

    This is a nearest point, and the only one where the entries of the slice differ: idempotent;
    the set is a sphere in the plane of mean 0, and not convex.

    Parameters
    ----------
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        On call, if ``axis`` does not fit the shape.
    TypeError
        At construction, if ``axis`` is not of the type above; on call, if the dtype is not real
        floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. No digits cancel,
    however large the mean is beside the spread. The root mean square of a result is within
    :math:`(8 + 1.5 L) u` of 1, :math:`L = \lceil \log_2 n \rceil` (2.05 u for half types), and
    its sum within :math:`1.01 u \sum |x_i| + n u t` (1.05 from n = 2**18 on, and 4.1 in
    float64) of 0; a slice that is that close comes back bit for bit, with the derivative of
    the map.

    ``violation`` is the larger of :math:`|\bar w|` and of the distance from 1 of the root mean
    square about the mean. A slice of equal entries, or of one, has no direction: it stays, and
    its violation is 1 or more. A slice holding NaN or infinity stays, too.

    Two reads and one write, and five numbers for each slice beside them.

    Examples
    --------
    >>> import numpy as np
    >>> Standardized()(np.asarray([[3.0, 7.0], [5.0, 7.0]]))
    array([[-1.,  7.],
           [ 1.,  7.]])
    """

    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, axis: AxisLike = 0) -> None: ...

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Moments:
        return moments.moments(block, axes, of_namespace(xp))

    def merge(self, a: Moments, b: Moments, xp: Namespace) -> Moments:
        return moments.merge(a, b, xp)

    def excess(self, measure: Moments, xp: Namespace) -> Array:
        total, one = measure.total, xp.ones_like(measure.total.value)
        outside, centre = self._outside(measure, xp)
        mean = xp.abs(centre[0] + centre[1])
        mean = mean if total.scale is None else mean / total.scale
        distance = xp.maximum(mean, xp.abs(moments.deviation(measure, xp) - one))
        # The square may tell from 1 what the root does not.
        least = one * total.precision.accumulator.roundoff
        shown = xp.where(outside, xp.maximum(distance, least), xp.zeros_like(one))
        return xp.where(signed_sums.is_finite(total), shown, total.magnitude)

    def apply(self, block: Array, measure: Moments, xp: Namespace) -> Array:
        library, total = of_namespace(xp), measure.total
        outside, centre = self._outside(measure, xp)
        moved = outside & moments.has_direction(measure)
        v = library.accumulated(library.fence(block))
        away = moments.away(v, total, centre)
        away = moments.divided(away, measure, moved, xp)
        return xp.where(moved, xp.astype(away, block.dtype, copy=False), block)

    def _outside(self, measure: Moments, xp: Namespace) -> tuple[Any, Pair]:
        """Return which slices are not allowed, those without a direction too, and their mean.

        Which are: this is decided here alone.
        """
        library, total = of_namespace(xp), measure.total
        centre = signed_sums.mean(total, xp)
        band, most = band_of(total, library), moments.band(total)
        square = moments.variance(measure, xp)
        off = xp.abs(centre[0] + centre[1]) > band * _STEPS[total.precision.narrows]
        narrow = (square >= (1 - most) ** 2) & (square <= (1 + most) ** 2)
        return off | ~narrow, centre

    def _stated_derivative(
        self, w: Array, tangent: Array, axes: tuple[int, ...], xp: Namespace
    ) -> Array:
        r"""Return what the tangent is across the slice and across ones, by the rms."""
        library, measure = of_namespace(xp), self.measure(w, axes, xp)
        centre, moved = signed_sums.mean(measure.total, xp), moments.has_direction(measure)
        y = moments.away(library.accumulated(w), measure.total, centre)
        y = moments.divided(y, measure, moved, xp)
        y = xp.where(moved, y, xp.zeros_like(y))
        wide: Any = library.accumulated(tangent)
        n = signed_sums.count_of(measure.entries, xp)

        def mean(x: Any) -> Any:
            return xp.sum(x, axis=axes, keepdims=True) / n

        across = wide - mean(wide)
        across = moments.divided(across - y * mean(y * across), measure, moved, xp)
        scale = measure.squares.scale
        across = across if scale is None else across * scale
        return xp.astype(xp.where(moved, across, wide), tangent.dtype, copy=False)


_STEPS = {True: 1.0, False: 1.35}
"""How much further a mean may be off: an entry may be rounded in two steps of its format."""
