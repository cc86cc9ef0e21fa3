"""Spheres: all slices have one norm."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from array_constraints import parameters
from array_constraints.numerics.margins import Interval
from array_constraints.sets.norms import NormConstraint
from array_constraints.typing import Axis, AxisLike, Bound, BoundLike


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


@final
@dataclass(frozen=True, repr=False)
class Sphere(NormConstraint):
    r"""Rescale each slice along ``axis`` to norm ``radius``.

    .. math::

        P(w) = \operatorname*{arg\,min}_{\lVert z \rVert_2 = r} \lVert z - w \rVert_2
             = \frac{r}{\lVert w \rVert_2}\, w, \qquad P(0) = 0

    The nearest point for every slice but zero, from which all are equally far. Idempotent; the
    sphere is not convex. It is known as hyperball, as weight normalisation, and as oblique
    manifold where slices are columns; nGPT takes ``radius=1``, EDM2 ``unit="rms"``.

    Parameters
    ----------
    radius
        The norm :math:`r`, finite and not negative; with 0, what is zero stays zero for ever. A
        sequence gives each slice its own, in C order of the dimensions that ``axis`` leaves.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.
    unit
        ``"norm"``, or ``"rms"``: ``radius`` is the root mean square of a slice, so that its
        norm becomes :math:`r \sqrt n`.

    Raises
    ------
    ValueError
        At construction, if ``radius`` is negative, infinite or NaN, or ``unit`` is another; on
        call, if ``axis`` or the number of radii does not fit the shape.
    TypeError
        At construction, if a parameter is not of the type above; on call, if the dtype is not
        real floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. A slice that is on the
    sphere within roundoff comes back bit for bit, with the derivative of the rescaling. A zero
    slice has no direction: it stays zero, and its violation is ``radius``; a slice holding NaN
    or infinity stays too. A file is read twice.

    Sources: I. Loshchilov et al., *nGPT: Normalized Transformer* (2024), and T. Karras et al.,
    *Analyzing and Improving the Training Dynamics of Diffusion Models* (2024), 2.3.

    Examples
    --------
    >>> import numpy as np
    >>> Sphere(radius=10.0)(np.asarray([[3.0, 0.0], [4.0, 0.0]]))
    array([[6., 0.],
           [8., 0.]])
    >>> Sphere(unit="rms", axis=None)(np.asarray([3.0, -3.0]))
    array([ 1., -1.])
    """

    radius: Bound = 1.0
    axis: Axis = 0
    unit: str = "norm"

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self,
            radius: BoundLike = 1.0,
            axis: AxisLike = 0,
            unit: Literal["norm", "rms"] = "norm",
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        finite = sys.float_info.max
        radius = parameters.number_or_numbers("radius", self.radius, lower=0, upper=finite)
        object.__setattr__(self, "radius", radius)

    def interval(self) -> Interval:
        return Interval(self.radius, self.radius)


unit_norm = UnitNorm
