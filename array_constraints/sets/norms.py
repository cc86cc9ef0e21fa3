"""Constraints on the Euclidean norm of each slice."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from array_constraints import _arrays, _norms, _norms_in_memory, parameters
from array_constraints._change import Change
from array_constraints._in_memory import InMemory
from array_constraints._margins import Interval, NormMeasure
from array_constraints.constraint import Slicewise
from array_constraints.numerics.formats import Precision
from array_constraints.parameters import Axis
from array_constraints.typing import Array, Namespace


class NormConstraint(Slicewise):
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

    @abstractmethod
    def interval(self) -> Interval:
        """Return the allowed norms, and the rate at which a slice moves there."""

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> NormMeasure:
        return _norms.measure(block, axes, xp)

    def merge(self, a: NormMeasure, b: NormMeasure, xp: Namespace) -> NormMeasure:
        return _norms.merge(a, b, xp)

    def excess(self, measure: NormMeasure, xp: Namespace) -> Array:
        return _norms.excess(measure, self.interval(), xp)

    def measure_in_memory(
        self, block: Array, axes: tuple[int, ...], memory: InMemory, xp: Namespace
    ) -> NormMeasure:
        return _norms_in_memory.measure(block, axes, memory, xp)

    def factor(self, measure: NormMeasure, memory: InMemory, xp: Namespace) -> Change:
        return _norms_in_memory.change(measure, self.interval(), memory, xp)

    def factor_of(
        self,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
        precision: Precision,
        memory: InMemory,
        xp: Namespace,
    ) -> Callable[..., Change] | None:
        return _norms_in_memory.change_of(shape, axes, precision, self.interval(), memory, xp)

    def apply(self, block: Array, measure: NormMeasure, xp: Namespace) -> Array:
        return _norms.rescale(block, measure, self.interval(), xp)

    def whole(self, w: Array, xp: Namespace) -> Array:
        axes, interval = self.axes(w), self.interval()
        if interval.rate == 0:
            return w

        def value(w: Array) -> Array:
            return self.apply(w, self.measure(w, axes, xp), xp)

        def derivative(w: Array, tangent: Array) -> Array:
            return _norms.derivative(w, tangent, axes, interval, xp)

        return _arrays.library(xp).differentiated(value, derivative, w)


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

    max_value: float | tuple[float, ...] = 2
    axis: Axis = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        radius = parameters.number_or_numbers("max_value", self.max_value, lower=0)
        object.__setattr__(self, "max_value", radius)

    def validate(self, w: Array) -> None:
        super().validate(w)
        if isinstance(self.max_value, tuple):
            slices = parameters.number_of_slices(w.shape, self.axes(w))
            if slices != len(self.max_value):
                raise ValueError(
                    f"MaxNorm: max_value has {len(self.max_value)} entries, an array of shape "
                    f"{tuple(w.shape)} has {slices} slices along axis {self.axis}"
                )

    @property
    def uniform(self) -> bool:
        return not isinstance(self.max_value, tuple)

    def for_slices(
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

    min_value: float = 0.0
    max_value: float = 1.0
    rate: float = 1.0
    axis: Axis = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        finite = sys.float_info.max
        low = parameters.number("min_value", self.min_value, lower=0, upper=finite)
        high = parameters.number("max_value", self.max_value, lower=0)
        if low > high:
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

    def interval(self) -> Interval:
        return Interval(1.0, 1.0)


max_norm = MaxNorm
min_max_norm = MinMaxNorm
unit_norm = UnitNorm
