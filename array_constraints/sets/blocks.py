"""A constraint on each block of a weight, such as the heads of a fused one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

from array_constraints import parameters
from array_constraints.forms import Form
from array_constraints.forms.combination import (
    Combination,
    by_entry,
    extent_of,
    numbered,
    part_of,
    write,
)
from array_constraints.forms.nesting import member, shown
from array_constraints.libraries import state
from array_constraints.typing import Array, Namespace, name_of


@final
@dataclass(frozen=True)
class Blocks(Combination):
    r"""Constrain each block along ``axis`` as if it were a weight of its own.

    .. math::

        P(w) = (P(w_1), P(w_2), \dots), \qquad w = (w_1, w_2, \dots) \ \text{along an axis}

    What is fused in one weight, such as queries, keys and values, the heads of attention,
    or experts, is constrained as it would be apart. Whether it is a nearest point, convex and
    idempotent, is as for the constraint on one block.

    Parameters
    ----------
    constraint
        The constraint :math:`P`; or its name, or config. Its ``axis`` counts the dimensions of
        a block, which are as many as those of the weight.
    axis
        The dimension in which the blocks follow each other.
    size
        How long each block is there, where all are equally long: the length is a multiple.
    sizes
        How long they are, one number for each; together they are the length. Exactly one of
        ``size`` and ``sizes`` is given.

    Raises
    ------
    ValueError
        At construction, if not exactly one of ``size`` and ``sizes`` is given, or one is less
        than 1; on call, if they or ``axis`` do not fit the shape, and what ``constraint``
        raises for a block.
    TypeError
        At construction, if ``constraint`` is none, or another parameter no int; on call, what
        ``constraint`` raises.

    Notes
    -----
    Shape, dtype and device are kept. Zero, NaN and derivatives are as for the constraint, block
    by block. ``violation`` is that of the blocks, side by side along ``axis``: of slices that
    run along it, one entry for each block. Blocks of equal size are constrained in one call
    where the constraint has no bounds that differ between slices. A file is read once, in
    parts of whole blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import Sphere
    >>> heads = Blocks(Sphere(1.0, axis=(0, 1)), size=2)  # two of two rows
    >>> heads(np.asarray([[3.0], [4.0], [0.0], [5.0]]))
    array([[0.6],
           [0.8],
           [0. ],
           [1. ]])
    """

    constraint: Any
    axis: int = 0
    size: int | None = None
    sizes: Any = None

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(
            self,
            constraint: Any,
            axis: int = 0,
            size: int | None = None,
            sizes: Any = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        found = member(name_of(type(self)), "constraint", self.constraint)
        object.__setattr__(self, "constraint", found)
        axis = parameters.whole_number("axis", self.axis, lower=-float("inf"))
        object.__setattr__(self, "axis", axis)
        if (self.size is None) == (self.sizes is None):
            raise ValueError(
                "give exactly one of size and sizes, got "
                f"{shown(self.size)} and {shown(self.sizes)}"
            )
        if self.size is not None:
            size = parameters.whole_number("size", self.size, lower=1)
            object.__setattr__(self, "size", size)
            return
        if not isinstance(self.sizes, list | tuple) or not self.sizes:
            raise TypeError(f"sizes must be a list of ints, got {shown(self.sizes)}")
        sizes = [
            parameters.whole_number(f"sizes[{i}]", n, lower=1) for i, n in enumerate(self.sizes)
        ]
        object.__setattr__(self, "sizes", tuple(sizes))

    def validate(self, w: Array) -> None:
        at, name = self._at(w.ndim), name_of(type(self))
        length = w.shape[at]
        if self.size is not None and length % self.size:
            raise ValueError(
                f"{name}: size {self.size} does not divide {length}, the length along axis "
                f"{self.axis} of an array of shape {tuple(w.shape)}"
            )
        if self.size is None and sum(self.sizes) != length:
            raise ValueError(
                f"{name}: sizes {self.sizes} are {sum(self.sizes)} together, the length along "
                f"axis {self.axis} of an array of shape {tuple(w.shape)} is {length}"
            )
        if isinstance(self.constraint, Form):
            for size in {self.size} if self.size is not None else set(self.sizes):
                self.constraint.validate(w[_index(at, 0, min(size, length))])

    def whole(self, ndim: int) -> tuple[int, ...]:
        at = self._at(ndim)
        others = [i for i in extent_of(self.constraint, ndim)[0] if i != at]
        return tuple(sorted(others if self.size is not None else [*others, at]))

    def groups(self, ndim: int) -> tuple[int, ...]:
        groups = list(extent_of(self.constraint, ndim)[1])
        groups[self._at(ndim)] = self.size or 1  # of other blocks the region has all
        return tuple(groups)

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        at, size = self._at(len(shape)), self.size or self.sizes[0]
        block = (*shape[:at], size, *shape[at + 1 :])
        own = (*part[:at], slice(0, size), *part[at + 1 :])
        values = {"constraint": part_of(self.constraint, block, own)}
        found: Self = state.with_values(self, values)
        return found

    def numbered(self, at: int, ndim: int) -> Self | None:
        """Return the form for arrays in which dimension ``at`` numbers those it is for."""
        constraint, own = numbered(self.constraint, at, ndim), self._at(ndim)
        if constraint is None:
            return None
        values = {"constraint": constraint, "axis": own + (own >= at)}
        found: Self = state.with_values(self, values)
        return found

    def project(self, w: Array, xp: Namespace) -> Array:
        split = self._split(w, xp)
        if split is not None:
            blocks, constraint = split
            result = constraint(blocks)
            return w if result is blocks else xp.reshape(result, w.shape)
        parts = list(self._blocks(w))
        results = [self.constraint(block) for block in parts]
        if all(a is b for a, b in zip(results, parts, strict=True)):
            return w
        return xp.concat(results, axis=self._at(w.ndim))

    def _project_in_place(self, w: Any, xp: Namespace) -> None:
        split = self._split(w, xp)
        if split is not None:
            blocks, constraint = split
            write(constraint, blocks)
            return
        for block in self._blocks(w):
            write(self.constraint, block)

    def excess(self, w: Array, xp: Namespace) -> Array:
        at, split = self._at(w.ndim), self._split(w, xp)
        if split is not None:
            blocks, constraint = split
            found: Array = constraint.violation(blocks)
            shape = (*found.shape[:at], -1, *found.shape[at + 2 :])
            return xp.reshape(found, shape)
        return xp.concat([self.constraint.violation(b) for b in self._blocks(w)], axis=at)

    def excess_by_entry(self, w: Array, xp: Namespace) -> Array:
        """Return the violation of each entry."""
        split = self._split(w, xp)
        if split is not None:
            blocks, constraint = split
            return xp.reshape(by_entry(constraint, blocks, xp), w.shape)
        found = [by_entry(self.constraint, block, xp) for block in self._blocks(w)]
        return xp.concat(found, axis=self._at(w.ndim))

    def _at(self, ndim: int) -> int:
        """Return the dimension in which the blocks follow each other, from the front."""
        return parameters.normalized_axes(name_of(type(self)), self.axis, ndim)[0]

    def _split(self, w: Array, xp: Namespace) -> tuple[Array, Any] | None:
        """Return the blocks as one array with a dimension more, and the constraint for it.

        None where each is to be constrained by itself.
        """
        at = self._at(w.ndim)
        if self.size is None:
            return None
        constraint = numbered(self.constraint, at, w.ndim)
        if constraint is None:
            return None
        return xp.reshape(w, (*w.shape[:at], -1, self.size, *w.shape[at + 1 :])), constraint

    def _blocks(self, w: Array) -> Iterator[Any]:
        """Yield each block as a part of the weight, in which it can be written."""
        at, start = self._at(w.ndim), 0
        equal = (self.size,) * (w.shape[at] // self.size) if self.size else ()
        for size in self.sizes or equal:
            yield w[_index(at, start, start + size)]
            start += size


def _index(at: int, start: int, stop: int) -> Any:
    return (*(slice(None),) * at, slice(start, stop), ...)
