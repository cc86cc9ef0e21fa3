"""Several constraints, one after the other."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

from array_constraints.constraint import Constraint
from array_constraints.forms.combination import (
    Combination,
    by_entry,
    extent_of,
    numbered,
    part_of,
)
from array_constraints.forms.nesting import member, shown
from array_constraints.libraries import state
from array_constraints.typing import Array, Namespace, name_of


@final
@dataclass(frozen=True)
class Chain(Combination):
    r"""Apply several constraints, one after the other.

    .. math::

        P(w) = P_k(\dots P_2(P_1(w)))

    The set that it aims at is the intersection of their sets; what is in it comes back bit for
    bit. The result satisfies all of them only where the later ones keep what the earlier ones
    did, and ``violation`` tells: to be not negative and then of norm 1, ``[NonNeg(),
    UnitNorm()]``, holds, for a rescaling keeps signs; ``[UnitNorm(), NonNeg()]`` does not, for
    zeros shorten what was of norm 1. ``[MaxNorm(), NonNeg()]`` holds in either order.

    It is in general not the nearest point of the intersection, nor idempotent where a member
    undoes what another did.

    Parameters
    ----------
    constraints
        The constraints in their order; or their names, or configs. At least one.

    Raises
    ------
    ValueError
        At construction, if there is none; on call, what a member raises.
    TypeError
        At construction, if a member is no constraint; on call, what a member raises.

    Notes
    -----
    ``violation`` is the largest of those of the members, each of the weight as it is, broadcast
    together: 0 exactly where all of them keep it. A zero slice or NaN is treated as by
    each member, and so are derivatives. A file is read once, in parts in which the slices of
    all members are whole; where such a part exceeds ``chunk_size``, it is refused.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import MaxNorm, NonNeg
    >>> Chain([NonNeg(), MaxNorm(1.0)])(np.asarray([[3.0, -0.3], [4.0, 0.4]]))
    array([[0.6, 0. ],
           [0.8, 0.4]])
    """

    constraints: Any

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, constraints: Any) -> None: ...

    def __post_init__(self) -> None:
        given = self.constraints
        if not isinstance(given, list | tuple):
            raise TypeError(f"constraints must be a list of them, got {shown(given)}")
        if not given:
            raise ValueError(f"constraints must hold at least one constraint, got {given!r}")
        owner = name_of(type(self))
        found = [member(owner, f"constraints[{i}]", one) for i, one in enumerate(given)]
        object.__setattr__(self, "constraints", tuple(found))

    def whole(self, ndim: int) -> tuple[int, ...]:
        axes = (extent_of(one, ndim)[0] for one in self.members())
        return tuple(sorted(set().union(*axes)))

    def groups(self, ndim: int) -> tuple[int, ...]:
        groups = (extent_of(one, ndim)[1] for one in self.members())
        return tuple(map(math.lcm, *groups)) if ndim else ()

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        return self._made_of([part_of(one, shape, part) for one in self.members()])

    def numbered(self, at: int, ndim: int) -> Self | None:
        """Return the form for arrays in which dimension ``at`` numbers those it is for."""
        found = [numbered(one, at, ndim) for one in self.members()]
        return None if None in found else self._made_of(found)

    def _made_of(self, members: list[Any]) -> Self:
        found: Self = state.with_values(self, {"constraints": tuple(members)})
        return found

    def project(self, w: Array, xp: Namespace) -> Array:
        for one in self.members():
            w = one(w)
        return w

    def excess(self, w: Array, xp: Namespace) -> Array:
        found = [self._excess_of(one, w, xp) for one in self.members()]
        return functools.reduce(xp.maximum, found)

    @staticmethod
    def _excess_of(one: Constraint, w: Array, xp: Namespace) -> Array:
        """Return the violation of a member: of each entry, where it has one for each block."""
        found: Array = one.violation(w)
        broadcasts = all(m in (1, n) for m, n in zip(found.shape, w.shape, strict=True))
        return found if broadcasts else by_entry(one, w, xp)
