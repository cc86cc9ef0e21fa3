"""Constraints on the sum of each slice, met by a threshold: the simplex, the L1 ball."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from array_constraints import parameters
from array_constraints.forms import Slicewise, WholeSlice
from array_constraints.libraries import of_namespace, state
from array_constraints.libraries.thresholds_table import thresholds_of
from array_constraints.numerics import masses
from array_constraints.numerics.masses import Mass, Target
from array_constraints.typing import Array, Axis, AxisLike, Bound, Namespace, NumberLike


class ThresholdConstraint(WholeSlice):
    """A constraint on the sum of each slice, or of its magnitudes, met by a threshold.

    A subclass states the target; measuring, searching and applying are shared.

    Examples
    --------
    >>> import numpy as np
    >>> class Portfolio(ThresholdConstraint):
    ...     axis = 0
    ...     def target(self):
    ...         return Target(100.0, ball=False)
    >>> Portfolio()(np.asarray([90.0, 30.0]))
    array([80., 20.])
    """

    def target(self) -> Target:
        """Return the sum that is asked for, and whether it is one of magnitudes."""
        raise NotImplementedError

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Mass:
        """Return the mass of each slice of a block."""
        return thresholds_of(of_namespace(xp)).mass(block, axes, self.target().ball)

    merge = staticmethod(masses.merge)

    def excess_of(self, mass: Mass, xp: Namespace) -> Array:
        """Return how far each slice is from what is allowed, from its mass alone."""
        return masses.excess(mass, self.target(), xp)

    def excess(self, slices: Array, xp: Namespace) -> Array:
        return self.excess_of(self.measure(slices, _last(self, slices), xp), xp)

    def project(self, slices: Array, xp: Namespace) -> Array:
        library, axes = of_namespace(xp), _last(self, slices)
        how = thresholds_of(library)

        def value(w: Array, data: dict[str, Any]) -> Array:
            return how.projected(w, axes, state.with_values(self, data).target())

        def derivative(w: Array, tangent: Array, data: dict[str, Any]) -> Array:
            return how.derivative(w, tangent, axes, state.with_values(self, data).target())

        return library.differentiated(value, derivative, slices, state.data_of(self))

    def violation(self, w: Any) -> Any:
        return _Masses(self).violation(w)


def _last(form: Any, slices: Array) -> tuple[int, ...]:
    """Return the dimensions of slices whose own are the last ones."""
    count = len(parameters.axes_of(form, slices))
    return tuple(range(slices.ndim - count, slices.ndim))


@dataclass(frozen=True)
class _Masses(Slicewise):
    """The measure of a constraint as a form: a violation follows from that alone."""

    constraint: Any

    @property
    def axis(self) -> Any:
        return self.constraint.axis

    def validate(self, w: Array) -> None:
        self.constraint.validate(w)

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Mass:
        found: Mass = self.constraint.measure(block, axes, xp)
        return found

    def merge(self, a: Mass, b: Mass, xp: Namespace) -> Mass:
        return masses.merge(a, b, xp)

    def excess(self, measure: Mass, xp: Namespace) -> Array:
        found: Array = self.constraint.excess_of(measure, xp)
        return found

    def apply(self, block: Array, measure: Mass, xp: Namespace) -> Array:
        raise TypeError("a mass is a part of the measure: the threshold is not in it")


@final
@dataclass(frozen=True)
class Simplex(ThresholdConstraint):
    r"""Project each slice along ``axis`` onto the simplex: no entry below 0, sum ``total``.

    .. math::

        P(w)_i = \max(w_i - \tau, 0), \qquad \sum_i P(w)_i = s

    This is the Euclidean projection: the set is convex, the map idempotent and non-expansive.
    """

    total: Bound = 1.0
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, total: NumberLike = 1.0, axis: AxisLike = 0) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        total: Any = parameters.number("total", self.total, lower=0, upper=sys.float_info.max)
        if isinstance(total, int | float) and not total:
            raise ValueError("total must be positive, got 0: only zeros have that sum")
        object.__setattr__(self, "total", total)

    def target(self) -> Target:
        return Target(self.total, ball=False)


@final
@dataclass(frozen=True)
class L1Ball(ThresholdConstraint):
    r"""Project each slice along ``axis`` onto the L1 ball of ``radius``.

    .. math::

        P(w)_i = \operatorname{sign}(w_i) \max(\lvert w_i \rvert - \tau, 0), \qquad
        \sum_i \lvert P(w)_i \rvert \le r

    This is the Euclidean projection: the set is convex, the map idempotent and non-expansive.
    """

    radius: Bound = 1.0
    axis: Axis = 0

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, radius: NumberLike = 1.0, axis: AxisLike = 0) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        radius = parameters.number("radius", self.radius, lower=0)
        object.__setattr__(self, "radius", radius)

    def target(self) -> Target:
        return Target(self.radius, ball=True)
