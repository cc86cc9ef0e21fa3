"""Sparse slices: few entries, wherever they are, are other than zero."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, SupportsIndex, final

from array_constraints import parameters
from array_constraints.forms import Slicewise
from array_constraints.libraries import of_namespace, state
from array_constraints.numerics import selection
from array_constraints.numerics.selection import Candidates, Census, Key, Selection
from array_constraints.typing import Array, Axis, AxisLike, Namespace, Numbers

_SLICES_OF_PANEL = 2**11


@final
@dataclass(frozen=True)
class Sparse(Slicewise):
    r"""Keep the ``k`` largest magnitudes of each slice along ``axis``; the others become 0.

    .. math::

        P(w) \in \operatorname*{arg\,min}_{z:\ \lVert z \rVert_0 \le k} \lVert z - w \rVert_2

    A nearest point: of equal magnitudes the first are kept, in C order of the slice.
    Idempotent; the set, the :math:`\ell_0` ball, is not convex. It is known as magnitude
    pruning, as top-k, and as hard thresholding.

    Parameters
    ----------
    k
        How many entries of a slice may be other than 0.
    density
        Instead of ``k``, their share of the n entries of a slice, between 0 and 1: k is the
        whole number nearest to ``density * n``, halves up.
    axis
        The dimension, or dimensions, that one slice runs along; ``None`` takes the whole array
        as one slice.

    Raises
    ------
    ValueError
        At construction, if ``k`` is negative or ``density`` not between 0 and 1, or if both are
        given; on call, if ``axis`` does not fit the shape.
    TypeError
        At construction, if neither is given, or a parameter is not of the type above; on call,
        if the dtype is not real floating.

    Notes
    -----
    Shape ``(..., n, ...)`` to the same shape; dtype and device are kept. What is kept is kept
    bit for bit, what is dropped becomes +0.0, and a slice with at most k entries other than 0
    comes back as it is. ``violation`` is how many entries too many are not 0: one read tells
    it. A slice that holds NaN stays, and its violation is NaN; an infinity has the largest
    magnitude. The derivative is 1 on what is kept, else 0.

    Where slices are read block by block, as from files, the last entry that is kept is searched
    for among fewer and fewer candidates: 3 reads as a rule, and 4 where many magnitudes are
    equal or nearly so, of any dtype. That is the most for one slice of 2**31 entries, 64 of
    2**23, or 1,024 of 2**15; beyond, 5 or 6. In memory, up to twice the memory of ``w`` is held
    beside it, and seven times that of float32 under ``jit`` on JAX.

    Examples
    --------
    >>> import numpy as np
    >>> Sparse(k=2)(np.asarray([3.0, -4.0, 1.0, 3.0]))
    array([ 3., -4.,  0.,  0.])
    >>> Sparse(density=0.25)(np.asarray([3.0, -4.0, 1.0, 3.0]))
    array([ 0., -4.,  0.,  0.])
    """

    k: int | None = None
    density: float | None = None
    axis: Axis = 0

    rounds: ClassVar[int] = selection.ROUNDS
    _part: ClassVar[tuple[int, int] | None] = None
    """How many slices are measured side by side, and their entries; None without an array."""

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self,
            k: SupportsIndex | None = None,
            density: float | Numbers | None = None,
            axis: AxisLike = 0,
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k is None and self.density is None:
            raise TypeError("give k, how many entries of a slice are kept, or density")
        if self.k is not None and self.density is not None:
            raise ValueError(
                f"give k or density, not both, got k={self.k!r}, density={self.density!r}"
            )
        if self.k is not None:
            object.__setattr__(self, "k", parameters.whole_number("k", self.k, lower=0))
        else:
            density = parameters.number("density", self.density, lower=0, upper=1)
            object.__setattr__(self, "density", density)

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        """Return the form that counts first digits: of slices that may be read in parts."""
        lengths = tuple([len(range(*p.indices(n))) for p, n in zip(part, shape, strict=True)])
        every = min(parameters.number_of_slices(shape, axes), _SLICES_OF_PANEL)
        slices = max(parameters.number_of_slices(lengths, axes), every)
        own = state.with_values(self, {"axis": self.axis})
        object.__setattr__(own, "_part", (slices, math.prod([shape[i] for i in axes])))
        found: Self = own
        return found

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Census:
        slices, counted = parameters.number_of_slices(tuple(block.shape), axes), False
        if self._part is not None:
            slices, counted = self._part[0], selection.is_counted(*self._part)
        found: Census = of_namespace(xp).census(block, axes, slices, counted)
        return found

    def merge(self, a: Census, b: Census, xp: Namespace) -> Census:
        return selection.merge(a, b)

    def excess(self, measure: Census, xp: Namespace) -> Array:
        return selection.excess(measure, self._most(measure.entries), xp)

    def next(self, measure: Census, xp: Namespace) -> Slicewise | None:
        return _following(self._selection(measure, xp), self.axis, xp)

    def apply(self, block: Array, measure: Census, xp: Namespace) -> Array:
        """Return the block, where the first digits told all that is kept."""
        found = self._selection(measure, xp)
        return _applied(block, found.last, found.moves, 0, xp)

    def _most(self, entries: Any) -> int:
        """Return how many entries of so many may be other than 0."""
        if self.density is None:
            return min(self.k or 0, int(entries))
        return selection.share(self.density, int(entries))

    def _selection(self, measure: Census, xp: Namespace) -> Selection:
        return selection.started(measure, self._most(measure.entries), xp)

    def _project_at_once(self, w: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
        library = of_namespace(xp)
        found: Array = library.sparse(w, axes, self._most(library.count(w, axes)))
        return found


@dataclass(frozen=True, eq=False)
class _Candidates(Slicewise):
    """A round: the entries that may be the last ones kept, in their order."""

    selection: Selection
    axis: Axis
    place: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """The shape of the array, and where in it the block begins."""

    rounds: ClassVar[int] = Sparse.rounds

    def __post_init__(self) -> None:
        """Leave ``axis`` as it was judged."""

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        """Return the form that knows where in the array its block is, or a part of that."""
        lengths, start = self.place or (shape, (0,) * len(shape))
        places = zip(start, part, shape, strict=True)
        within = tuple([i + p.indices(n)[0] for i, p, n in places])
        return replace(self, place=(lengths, within))

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Candidates:
        library, places = of_namespace(xp), self._places(block, axes, xp)
        found: Candidates = library.candidates(block, places, self.selection, axes)
        return found

    def merge(self, a: Candidates, b: Candidates, xp: Namespace) -> Candidates:
        return selection.together(a, b, xp)

    def next(self, measure: Candidates, xp: Namespace) -> Slicewise | None:
        found = selection.narrowed(self.selection, measure, xp)
        if bool(xp.any(selection.tied(self.selection, measure, found, xp))):
            raise RuntimeError(
                "Sparse: which of equal entries come first is not known where the sizes of "
                "chunks are not: call w.compute_chunk_sizes() first"
            )
        return _following(found, self.axis, xp)

    def excess(self, measure: Candidates, xp: Namespace) -> Array:
        return xp.astype(self.selection.moves, xp.float64)

    def apply(self, block: Array, measure: Candidates, xp: Namespace) -> Array:
        last, _ = selection.last_key(self.selection, measure, xp)
        axes = parameters.axes_of(self, block)
        places = self._places(block, axes, xp)
        return _applied(block, last, self.selection.moves, places, xp)

    def _places(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Any:
        """Return the places of the entries of a slice; the same one where none is known."""
        shape = tuple(block.shape)
        lengths, start = self.place or (shape, (0,) * len(shape))
        found = selection.places(shape, axes, start, lengths, xp)
        are_known = math.prod([lengths[i] for i in axes]) == self.selection.entries
        return found if are_known else xp.zeros_like(found)


def _following(found: Selection, axis: Axis, xp: Namespace) -> _Candidates | None:
    return _Candidates(found, axis) if bool(xp.any(found.open)) else None


def _applied(block: Array, last: Key, moves: Any, places: Any, xp: Namespace) -> Array:
    kept = last.is_reached(of_namespace(xp).ranked(block), places, xp) | ~moves
    allowed: Array = xp.where(kept, block, xp.zeros_like(block))
    return allowed
