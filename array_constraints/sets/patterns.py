"""Patterns of entries that may be other than zero: triangles and bands."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from array_constraints import parameters
from array_constraints.forms import Elementwise
from array_constraints.libraries import of_namespace
from array_constraints.typing import Array, Namespace, name_of

Region = tuple[slice, ...]


class Pattern(Elementwise):
    """A constraint by which some entries are zero, whatever the values of the others."""

    @abstractmethod
    def allowed(self, w: Array, xp: Namespace) -> Array:
        """Return where entries may be other than zero, broadcast against ``w``."""

    def project(self, w: Array, xp: Namespace) -> Array:
        return xp.where(self.outside(w, xp), xp.zeros_like(w), w)

    def _project_known(self, w: Any, outside: Any, xp: Namespace) -> Any:
        library: Any = of_namespace(xp)
        return library.zeroed(w, outside)

    def outside(self, w: Array, xp: Namespace) -> Array:
        return ~self.allowed(w, xp) & of_namespace(xp).nonzero(w)

    def excess(self, w: Array, xp: Namespace) -> Array:
        found = xp.where(self.outside(w, xp), xp.abs(w), xp.zeros_like(w))
        return xp.where(xp.equal(w, w), found, w)


class Diagonals(Pattern):
    """Entries of matrices on some diagonals: those of column minus row in an interval."""

    axis: Any

    @abstractmethod
    def interval(self) -> tuple[int | None, int | None]:
        """Return the first and the last diagonal that is kept, None for no end."""

    def __post_init__(self) -> None:
        axis = parameters.axis(self.axis)
        if not isinstance(axis, tuple) or len(axis) != 2:
            error = ValueError if isinstance(axis, tuple) else TypeError
            raise error(f"axis must be a pair, those of rows and of columns, got {self.axis!r}")
        object.__setattr__(self, "axis", axis)

    def validate(self, w: Array) -> None:
        super().validate(w)
        parameters.pair_of_axes(name_of(type(self)), self.axis, w.ndim)

    def allowed(self, w: Array, xp: Namespace) -> Array:
        rows, columns = parameters.pair_of_axes(name_of(type(self)), self.axis, w.ndim)
        library, (first, last) = of_namespace(xp), self.interval()
        i, j = (_numbered(k, w, library) for k in (rows, columns))
        diagonal = j - i
        found = xp.equal(diagonal, diagonal)
        if first is not None:
            found = found & (diagonal >= first)
        return found if last is None else found & (diagonal <= last)

    def for_part(self, shape: tuple[int, ...], axes: tuple[int, ...], part: Region) -> Any:
        rows, columns = parameters.pair_of_axes(name_of(type(self)), self.axis, len(shape))
        further = part[columns].indices(shape[columns])[0] - part[rows].indices(shape[rows])[0]
        if not further:
            return self
        ends = [None if end is None else end - further for end in self.interval()]
        return _SomeDiagonals(ends[0], ends[1], self.axis)


def _numbered(k: int, w: Array, library: Any) -> Any:
    """Return the numbers along dimension ``k`` of an array, broadcast against it."""
    shape = tuple([-1 if i == k else 1 for i in range(w.ndim)])
    return library.xp.reshape(library.arange(w.shape[k], w), shape)


@dataclass(frozen=True)
class _SomeDiagonals(Diagonals):
    first: int | None
    last: int | None
    axis: Any

    def interval(self) -> tuple[int | None, int | None]:
        return self.first, self.last


@final
@dataclass(frozen=True)
class Triangular(Diagonals):
    r"""Make matrices triangular: entries beyond a diagonal become zero.

    .. math::

        P(w)_{ij} = \begin{cases} w_{ij} & j - i \le k \\ 0 & \text{otherwise} \end{cases}

    for the lower part, and with :math:`j - i \ge k` for the upper. The nearest point of a
    linear space: convex, idempotent, non-expansive. Masks of autoregressive networks and causal
    kernels are of this kind.

    Parameters
    ----------
    part
        ``"lower"`` or ``"upper"``: which part is kept.
    offset
        The last, or first, diagonal that is kept, :math:`k`: 0 is the main one, 1 above it.
    axis
        The dimensions of the rows and of the columns; the others number the matrices.

    Raises
    ------
    ValueError
        At construction, if ``part`` is another, or ``axis`` no pair; on call, if ``axis`` does
        not fit the shape.
    TypeError
        At construction, if ``offset`` is no int; on call, if the dtype is not real numeric.

    Notes
    -----
    Shape ``(..., rows, columns)`` to the same shape; dtype and device are kept, integers too.
    What is kept comes back bit for bit; so do zeros of either sign, and NaN. An infinity beyond
    the diagonal becomes 0. The derivative is 1 on what is kept, else 0. A file is read once.

    Examples
    --------
    >>> import numpy as np
    >>> Triangular()(np.ones((2, 3)))
    array([[1., 0., 0.],
           [1., 1., 0.]])
    """

    part: str = "lower"
    offset: int = 0
    axis: Any = (-2, -1)

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self,
            part: Literal["lower", "upper"] = "lower",
            offset: int = 0,
            axis: tuple[int, int] = (-2, -1),
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        part = parameters.choice("part", self.part, ("lower", "upper"))
        object.__setattr__(self, "part", part)
        offset = parameters.whole_number("offset", self.offset, lower=-math.inf)
        object.__setattr__(self, "offset", offset)

    def interval(self) -> tuple[int | None, int | None]:
        return (None, self.offset) if self.part == "lower" else (self.offset, None)


@final
@dataclass(frozen=True)
class Banded(Diagonals):
    r"""Make matrices banded: entries far from the main diagonal become zero.

    .. math::

        P(w)_{ij} = \begin{cases} w_{ij} & -l \le j - i \le u \\ 0 & \text{otherwise}
        \end{cases}

    The nearest point of a linear space: convex, idempotent, non-expansive.

    Parameters
    ----------
    lower, upper
        How many diagonals are kept below the main one, :math:`l`, and above, :math:`u`; None
        keeps all of that side. By default the matrices become diagonal.
    axis
        The dimensions of the rows and of the columns; the others number the matrices.

    Raises
    ------
    ValueError
        At construction, if ``lower`` or ``upper`` is negative, or ``axis`` no pair; on call, if
        ``axis`` does not fit the shape.
    TypeError
        At construction, if ``lower`` or ``upper`` is no int; on call, if the dtype is not real
        numeric.

    Notes
    -----
    As :class:`Triangular`: shape, dtype and device are kept, zeros and NaN come back as they
    are, the derivative is 1 on what is kept, and a file is read once.

    Examples
    --------
    >>> import numpy as np
    >>> Banded(lower=1)(np.ones((3, 3)))
    array([[1., 0., 0.],
           [1., 1., 0.],
           [0., 1., 1.]])
    """

    lower: int | None = 0
    upper: int | None = 0
    axis: Any = (-2, -1)

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self,
            lower: int | None = 0,
            upper: int | None = 0,
            axis: tuple[int, int] = (-2, -1),
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("lower", self.lower), ("upper", self.upper)):
            if value is not None:
                count = parameters.whole_number(name, value, lower=0)
                object.__setattr__(self, name, count)

    def interval(self) -> tuple[int | None, int | None]:
        return None if self.lower is None else -self.lower, self.upper
