"""Patterns of entries that may be other than zero: masks, triangles, bands."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from array_constraints import parameters
from array_constraints.forms import Elementwise
from array_constraints.libraries import of_namespace
from array_constraints.sets.packing import packed, unpacked
from array_constraints.typing import Array, Namespace, name_of

Region = tuple[slice, ...]


class Pattern(Elementwise):
    """A constraint by which some entries are zero, whatever the values of the others."""

    @abstractmethod
    def allowed(self, w: Array, xp: Namespace) -> Array:
        """Return where entries may be other than zero, broadcast against ``w``."""

    def project(self, w: Array, xp: Namespace) -> Array:
        return xp.where(self.outside(w, xp), xp.zeros_like(w), w)

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
            raise ValueError(
                f"axis must be a pair, those of rows and of columns, got {self.axis!r}"
            )
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
        parameters.choice("part", self.part, ("lower", "upper"))
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


@final
@dataclass(frozen=True)
class Mask(Pattern):
    r"""Make the entries zero that a mask leaves out.

    .. math::

        P(w)_i = \begin{cases} w_i & m_i \\ 0 & \text{otherwise} \end{cases}

    The nearest point of a linear space: convex, idempotent, non-expansive. It holds a network
    to a pattern that was found once, by pruning.

    Parameters
    ----------
    mask
        An array or nested lists of truth values, as many dimensions as the weight, each of its
        length or of length 1; true where an entry is kept. It is stored packed, eight to a
        byte, as text: base64 of its bits in C order, the first the most significant.
    shape
        The lengths of the mask, where it is given as such a text.

    Raises
    ------
    ValueError
        At construction, if the mask is no array of truth values, or the text does not fit the
        shape; on call, if the mask does not fit the weight.
    TypeError
        On call, if the dtype is not real numeric.

    Notes
    -----
    Any shape, to the same shape; dtype and device are kept, integers too. What is kept comes
    back bit for bit; so do zeros of either sign, and NaN. An infinity that is left out becomes
    0. The derivative is 1 on what is kept, else 0. A file is read once; of memory, the mask
    takes a byte for each of its entries while it is applied.

    Examples
    --------
    >>> import numpy as np
    >>> Mask([[True, False]])(np.ones((2, 2)))
    array([[1., 0.],
           [1., 0.]])
    """

    mask: str
    shape: tuple[int, ...] | None = None

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, mask: Any, shape: tuple[int, ...] | None = None) -> None: ...

    def __post_init__(self) -> None:
        text, shape = packed(self.mask, self.shape)
        object.__setattr__(self, "mask", text)
        object.__setattr__(self, "shape", shape)

    def validate(self, w: Array) -> None:
        super().validate(w)
        own: Any = self.shape
        if len(own) == w.ndim and all(
            n in (1, length) for n, length in zip(own, w.shape, strict=True)
        ):
            return
        raise ValueError(
            f"{name_of(type(self))}: the mask has shape {own}, which does not fit an array of "
            f"shape {tuple(w.shape)}: as many dimensions, each of its length or 1"
        )

    def allowed(self, w: Array, xp: Namespace) -> Array:
        shape: Any = self.shape
        return of_namespace(xp).booleans(unpacked(self.mask, math.prod(shape)), shape, w)

    def for_part(self, shape: tuple[int, ...], axes: tuple[int, ...], part: Region) -> Any:
        lengths: Any = self.shape
        own = [s if n > 1 else slice(0, n) for s, n in zip(part, lengths, strict=True)]
        return _PartOfMask(self, tuple(own))


@dataclass(frozen=True)
class _PartOfMask(Pattern):
    whole: Pattern
    region: Region

    def allowed(self, w: Array, xp: Namespace) -> Array:
        return self.whole.allowed(w, xp)[self.region]

    def for_part(self, shape: tuple[int, ...], axes: tuple[int, ...], part: Region) -> Any:
        return _PartOfMask(self, part) if part != tuple(slice(0, n) for n in shape) else self
