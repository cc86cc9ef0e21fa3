"""Constraints on the kernels of convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from array_constraints.forms import WholeSlice
from array_constraints.libraries import of_namespace
from array_constraints.typing import Array, Namespace


@final
@dataclass(frozen=True)
class RadialConstraint(WholeSlice):
    r"""Give all entries of a square ring of a convolution kernel the same value.

    Rings are counted from the outside, :math:`\rho(i) = \min(i_1, i_2, k-1-i_1, k-1-i_2)`, and
    each takes one of its own entries on the diagonal:

    .. math::

        P(w)_i = w_{d(\rho(i)),\, d(\rho(i))}, \qquad
        d(\rho) = \begin{cases} \rho & \text{innermost ring} \\ k - 1 - \rho & \text{otherwise}
        \end{cases}

    Linear and idempotent, but not the nearest point, which would be the mean of each ring: the
    entries are those that tf_keras takes.

    Raises
    ------
    ValueError
        On call, if the shape is not ``(k, k, inputs, outputs)``.
    TypeError
        On call, if the dtype is not real floating.

    Notes
    -----
    Shape ``(k, k, inputs, outputs)`` to the same shape; dtype and device are kept, every result
    is one of the entries. Keras 3 has no such constraint. For odd ``k`` tf_keras takes the
    entry of the wrong ring, so that a second call changes the result: see ``docs/keras.md``.

    Examples
    --------
    >>> import numpy as np
    >>> RadialConstraint()(np.arange(9.0).reshape(3, 3, 1, 1))[:, :, 0, 0]
    array([[8., 8., 8.],
           [8., 4., 8.],
           [8., 8., 8.]])
    """

    axis = (0, 1)

    def validate(self, w: Array) -> None:
        if w.ndim != 4 or w.shape[0] != w.shape[1]:
            raise ValueError(
                "RadialConstraint takes the kernel of a two-dimensional convolution, of shape "
                f"(k, k, inputs, outputs), got shape {tuple(w.shape)}"
            )
        super().validate(w)

    def project(self, slices: Array, xp: Namespace) -> Array:
        size = slices.shape[-1]
        inwards = [min(i, size - 1 - i) for i in range(size)]
        innermost = (size - 1) // 2
        result = slices
        for ring in range(innermost + 1):
            d = ring if ring == innermost else size - 1 - ring
            inside = [[min(i, j) == ring for j in inwards] for i in inwards]
            result = xp.where(
                of_namespace(xp).constant(inside, slices),
                slices[..., d : d + 1, d : d + 1],
                result,
            )
        return result

    def excess(self, slices: Array, xp: Namespace) -> Array:
        difference = slices - self.project(slices, xp)
        return of_namespace(xp).largest_magnitude(
            difference, (slices.ndim - 2, slices.ndim - 1)
        )


radial_constraint = RadialConstraint
