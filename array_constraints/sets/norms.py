"""Constraints on the Euclidean norm of each slice."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from array_constraints import parameters, reductions
from array_constraints.forms import Measuring, Rescaling, Sizing
from array_constraints.libraries import of_namespace
from array_constraints.numerics import rescaling
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.margins import Interval, Number
from array_constraints.typing import (
    Array,
    Axis,
    AxisLike,
    Bound,
    BoundLike,
    Count,
    Namespace,
    NumberLike,
)


class NormConstraint(Rescaling):
    """A constraint that rescales each slice so that its Euclidean norm lies in an interval.

    A subclass states the interval; measuring, merging and rescaling are shared.

    Examples
    --------
    >>> import numpy as np
    >>> class Radius3(NormConstraint):
    ...     axis = 0
    ...     def interval(self):
    ...         return Interval(lower=3.0, upper=3.0)
    >>> Radius3()(np.asarray([3.0, 4.0]))
    array([1.8, 2.4])
    """

    measure: Measuring[reductions.Sum] = staticmethod(reductions.sum_of_squares)

    size: Sizing = staticmethod(reductions.norm)

    def roundoffs(self, entries: Count, precision: Precision) -> Number:
        return reductions.roundoffs_of_norm(entries, precision)

    def _derivative(
        self, w: Array, tangent: Array, axes: tuple[int, ...], xp: Namespace
    ) -> Array:
        library = of_namespace(xp)
        measure = library.sum_of_squares(w, axes, in_any_order=True)
        return rescaling.derivative(
            w, tangent, axes, rescaling.sizes_of(self, measure, library), library
        )


@final
@dataclass(frozen=True)
class MaxNorm(NormConstraint):
    r"""Shrink each slice along ``axis`` whose Euclidean norm exceeds ``max_value``.

    .. math::

        P(w) = w \cdot \min\!\left(1, \frac{c}{\lVert w \rVert_2}\right), \qquad P(0) = 0

    This is the Euclidean projection onto the ball of radius :math:`c`: convex, idempotent,
    non-expansive.

    Parameters
    ----------
    max_value
        The radius :math:`c`, not negative; infinity constrains nothing. A sequence gives each
        slice its own radius, in C order of the dimensions that ``axis`` leaves.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        At construction, if ``max_value`` is negative or NaN; on call, if ``axis`` or the number
        of radii does not fit the shape.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. Satisfied slices come
    back bit for bit, a slice holding NaN or infinity too. Keras divides by ``norm + epsilon``,
    which shrinks satisfied slices a little at each call: see ``docs/keras.md``.

    Examples
    --------
    >>> import numpy as np
    >>> MaxNorm(max_value=1.0)(np.asarray([[3.0, 0.3], [4.0, 0.4]]))
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """

    max_value: Bound = 2
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, max_value: BoundLike = 2, axis: AxisLike = 0) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        radius = parameters.number_or_numbers("max_value", self.max_value, lower=0)
        object.__setattr__(self, "max_value", radius)

    def validate(self, w: Array) -> None:
        super().validate(w)
        radii: Any = self.max_value
        if isinstance(radii, int | float) or (not isinstance(radii, tuple) and not radii.ndim):
            return
        slices = parameters.number_of_slices(w.shape, parameters.axes_of(self, w))
        if slices == len(radii):
            return
        raise ValueError(
            f"MaxNorm: max_value has {len(radii)} entries, an array of shape {tuple(w.shape)} "
            f"has {slices} slices along axis {self.axis}"
        )

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> MaxNorm:
        if not isinstance(self.max_value, tuple):
            return self
        numbers = [0]
        for i in sorted(set(range(len(shape))) - set(axes)):
            inside = range(*part[i].indices(shape[i]))
            numbers = [number * shape[i] + j for number in numbers for j in inside]
        return MaxNorm(tuple(self.max_value[number] for number in numbers), self.axis)

    def interval(self) -> Interval:
        return Interval(0.0, self.max_value)


@final
@dataclass(frozen=True)
class MinMaxNorm(NormConstraint):
    r"""Move the Euclidean norm of each slice along ``axis`` towards ``[min_value, max_value]``.

    .. math::

        P(w) = w \cdot \frac{(1 - r) \lVert w \rVert_2
               + r \operatorname{clip}(\lVert w \rVert_2, a, b)}{\lVert w \rVert_2},
        \qquad P(0) = 0

    For :math:`r = 1` this is the Euclidean projection onto the annulus (outside zero):
    idempotent; convex only for :math:`a = 0`. For :math:`r < 1` each call takes that share of
    the way.

    Parameters
    ----------
    min_value, max_value
        The bounds :math:`0 \le a \le b`; ``max_value`` may be infinity.
    rate
        The share :math:`r` of the way that one call goes, in ``[0, 1]``.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        At construction, if a bound is negative or NaN, ``min_value > max_value``, or ``rate``
        is outside ``[0, 1]``; on call, if ``axis`` does not fit the shape.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. Satisfied slices come
    back bit for bit. A zero slice has no direction: it stays zero, and ``violation`` reports
    ``min_value`` for it; a slice holding NaN or infinity stays too.

    Examples
    --------
    >>> import numpy as np
    >>> MinMaxNorm(min_value=1.0, max_value=2.0)(np.asarray([[3.0, 0.3], [4.0, 0.4]]))
    array([[1.2, 0.6],
           [1.6, 0.8]])
    """

    min_value: Bound = 0.0
    max_value: Bound = 1.0
    rate: Bound = 1.0
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self,
            min_value: NumberLike = 0.0,
            max_value: NumberLike = 1.0,
            rate: NumberLike = 1.0,
            axis: AxisLike = 0,
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        finite = sys.float_info.max
        low: Any = parameters.number("min_value", self.min_value, lower=0, upper=finite)
        high: Any = parameters.number("max_value", self.max_value, lower=0)
        judged = isinstance(low, int | float) and isinstance(high, int | float)
        if judged and low > high:
            raise ValueError(f"min_value must not exceed max_value, got {low!r} > {high!r}")
        object.__setattr__(self, "min_value", low)
        object.__setattr__(self, "max_value", high)
        rate = parameters.number("rate", self.rate, lower=0, upper=1)
        object.__setattr__(self, "rate", rate)

    def interval(self) -> Interval:
        return Interval(self.min_value, self.max_value, self.rate)


@final
@dataclass(frozen=True)
class UnitNorm(NormConstraint):
    r"""Rescale each slice along ``axis`` to Euclidean norm 1.

    .. math::

        P(w) = \frac{w}{\lVert w \rVert_2}, \qquad P(0) = 0

    This is the Euclidean projection onto the unit sphere (outside zero): idempotent; the
    sphere is not convex.

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
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. A slice whose norm is
    1 within roundoff comes back bit for bit, with the derivative of the rescaling. A zero slice
    has no direction: it stays zero, and its violation is 1; a slice holding NaN or infinity
    stays too.

    Examples
    --------
    >>> import numpy as np
    >>> UnitNorm()(np.asarray([[3.0, 0.0], [4.0, 0.0]]))
    array([[0.6, 0. ],
           [0.8, 0. ]])
    """

    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, axis: AxisLike = 0) -> None: ...

    def interval(self) -> Interval:
        return Interval(1.0, 1.0)


max_norm = MaxNorm
min_max_norm = MinMaxNorm
unit_norm = UnitNorm
