"""Constraints on the norm of each slice: balls, and what lies between two of them."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

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
    name_of,
)

UNITS = ("norm", "rms")


class NormConstraint(Rescaling):
    """A constraint that rescales each slice so that its Euclidean norm lies in an interval.

    A subclass states the interval; measuring, merging and rescaling are shared. Its ``unit``
    may be ``"rms"``: then the interval is one of root mean squares, norms over the square root
    of the number of entries.

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

    measure: Measuring[Any] = staticmethod(reductions.sum_of_squares)

    unit: str = "norm"
    _beyond_keras: Any = ()
    """What a class of Keras does not have, with its default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parameters.choice("unit", self.unit, UNITS)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments; of those that Keras has not, what is given."""
        config = super().get_config()
        return {k: v for k, v in config.items() if (k, v) not in self._beyond_keras}

    def __repr__(self) -> str:
        given = [(name, getattr(self, name)) for name in self.get_config()]
        return f"{name_of(type(self))}({', '.join(f'{k}={v!r}' for k, v in given)})"

    @property
    def size(self) -> Sizing:  # type: ignore[override]
        return reductions.root_mean_square if self.unit == "rms" else reductions.norm

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
@dataclass(frozen=True, repr=False)
class MaxNorm(NormConstraint):
    r"""Shrink each slice along ``axis`` whose norm exceeds ``max_value``.

    .. math::

        P(w) = w \cdot \min\!\left(1, \frac{c}{\lVert w \rVert_2}\right), \qquad P(0) = 0

    This is the Euclidean projection onto the ball of radius :math:`c`, the nearest point of it:
    convex, idempotent, non-expansive.

    Parameters
    ----------
    max_value
        The radius :math:`c`, not negative; infinity constrains nothing. A sequence gives each
        slice its own radius, in C order of the dimensions that ``axis`` leaves.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.
    unit
        ``"norm"``, or ``"rms"``: the bound is one of the root mean square,
        :math:`\lVert w \rVert_2 / \sqrt n` of a slice of n entries.
    order
        2, the Euclidean norm; 1, the sum of magnitudes; or infinity, the largest magnitude. Of
        these two the slice is shrunk as well: it keeps its direction, and is not the nearest
        point.

    Raises
    ------
    ValueError
        At construction, if ``max_value`` is negative or NaN, ``unit`` or ``order`` is another,
        or ``unit="rms"`` is of another order than 2; on call, if ``axis`` or the number of
        radii does not fit the shape.
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
    >>> MaxNorm(1.0, order=1)(np.asarray([3.0, 1.0]))
    array([0.75, 0.25])
    """

    max_value: Bound = 2
    axis: Axis = 0
    unit: str = "norm"
    order: float = 2

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self,
            max_value: BoundLike = 2,
            axis: AxisLike = 0,
            unit: Literal["norm", "rms"] = "norm",
            order: float = 2,
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        radius = parameters.number_or_numbers("max_value", self.max_value, lower=0)
        object.__setattr__(self, "max_value", radius)
        order = parameters.choice("order", self.order, (1, 2, math.inf))
        object.__setattr__(self, "order", order)
        if self.unit != "norm" and order != 2:
            raise ValueError(f"unit must be 'norm' where order is not 2, got {self.unit!r}")

    _beyond_keras = (("unit", "norm"), ("order", 2))

    @property
    def measure(self) -> Measuring[Any]:  # type: ignore[override]
        if self.order == 2:
            return reductions.sum_of_squares
        return reductions.sum_of_magnitudes if self.order == 1 else reductions.largest_magnitude

    def roundoffs(self, entries: Count, precision: Precision) -> Number:
        if self.order == 2:
            return super().roundoffs(entries, precision)
        return reductions.roundoffs_of_sum(entries, precision) if self.order == 1 else 0.0

    @property
    def _derivative(self) -> Any:
        """Only that of a Euclidean norm is stated."""
        return super()._derivative if self.order == 2 else None

    def interval(self) -> Interval:
        return Interval(0.0, self.max_value)


@final
@dataclass(frozen=True, repr=False)
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
        A sequence gives each slice its own bound, in C order of the dimensions that ``axis``
        leaves.
    rate
        The share :math:`r` of the way that one call goes, in ``[0, 1]``.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.
    unit
        ``"norm"``, or ``"rms"``: the bounds are those of the root mean square.

    Raises
    ------
    ValueError
        At construction, if a bound is negative or NaN, ``min_value > max_value``, ``rate`` is
        outside ``[0, 1]``, or ``unit`` another; on call, if ``axis`` or the number of bounds
        does not fit the shape.
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
    unit: str = "norm"

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self,
            min_value: BoundLike = 0.0,
            max_value: BoundLike = 1.0,
            rate: NumberLike = 1.0,
            axis: AxisLike = 0,
            unit: Literal["norm", "rms"] = "norm",
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        finite = sys.float_info.max
        low = parameters.number_or_numbers("min_value", self.min_value, lower=0, upper=finite)
        high = parameters.number_or_numbers("max_value", self.max_value, lower=0)
        parameters.judge_order(low, high)
        object.__setattr__(self, "min_value", low)
        object.__setattr__(self, "max_value", high)
        rate = parameters.number("rate", self.rate, lower=0, upper=1)
        object.__setattr__(self, "rate", rate)

    _beyond_keras = (("unit", "norm"),)

    def interval(self) -> Interval:
        return Interval(self.min_value, self.max_value, self.rate)


max_norm = MaxNorm
min_max_norm = MinMaxNorm
