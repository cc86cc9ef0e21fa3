"""A share of the way to what another constraint allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

from array_constraints import parameters
from array_constraints.forms.combination import (
    EVERYTHING,
    by_entry,
    extent_of,
    needs_of,
    numbered,
)
from array_constraints.forms.nesting import Nesting, member
from array_constraints.libraries import of_namespace, state
from array_constraints.numerics.blending import blended
from array_constraints.typing import Array, Bound, Namespace, NumberLike, name_of


@final
@dataclass(frozen=True)
class Relaxed(Nesting):
    r"""Go a share of the way to what another constraint allows, at each call.

    .. math::

        R(w) = w + r \, (P(w) - w)

    Training then is pulled to the set, and not put there: the distance to a convex set shrinks
    by the factor :math:`1 - r` at each call. For :math:`r < 1` the result is not in the set, so
    that a call after it goes further: not idempotent.

    Parameters
    ----------
    constraint
        The constraint :math:`P`; or its name, or config.
    rate
        The share :math:`r` of the way, in ``[0, 1]``: 1 is the constraint itself.

    Raises
    ------
    ValueError
        At construction, if ``rate`` is outside ``[0, 1]``; on call, what ``constraint`` raises.
    TypeError
        At construction, if ``constraint`` is none; on call, if the dtype is not real floating.

    Notes
    -----
    A satisfied slice, or entry, comes back bit for bit. So do NaN and infinity, from which
    there is no halfway. ``violation`` is that of ``constraint``, and so are the pieces that are
    looked at at once: a file is read as often, and what it fits in is the same.

    The share is taken in the accumulator's format, and rounded once. ``MinMaxNorm`` has a
    ``rate`` of its own, which is the same.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import MaxNorm
    >>> Relaxed(MaxNorm(1.0), rate=0.5)(np.asarray([[3.0, 0.3], [4.0, 0.4]]))
    array([[1.8, 0.3],
           [2.4, 0.4]])
    """

    constraint: Any
    rate: Bound = 0.5

    if TYPE_CHECKING:  # what is taken; a field has the type of what is stored

        def __init__(self, constraint: Any, rate: NumberLike = 0.5) -> None: ...

    def __post_init__(self) -> None:
        found = member(name_of(type(self)), "constraint", self.constraint)
        object.__setattr__(self, "constraint", found)
        rate = parameters.number("rate", self.rate, lower=0, upper=1)
        object.__setattr__(self, "rate", rate)

    @property
    def needs(self) -> Any:  # type: ignore[override]  # that of each form alike elsewhere
        """What has to be known at once: the same as for the constraint itself."""
        needs = needs_of(self.constraint)
        return _NEEDS.get(needs, needs)

    @property
    def axis(self) -> Any:
        """The axis of the constraint, where it has one."""
        return self.constraint.axis

    # What the forms state, each under its name: that of the constraint.

    def validate(self, w: Array) -> None:
        super(Nesting, self).validate(w)  # real floating, whatever the constraint takes
        super().validate(w)

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        if needs_of(self.constraint) == EVERYTHING:
            return self
        return self._around(self.constraint.for_part(shape, axes, part))

    def whole(self, ndim: int) -> tuple[int, ...]:
        """Return the dimensions, of ``ndim``, that the constraint needs in full."""
        return extent_of(self.constraint, ndim)[0]

    def groups(self, ndim: int) -> tuple[int, ...]:
        """Return how many neighbours in each dimension belong together."""
        return extent_of(self.constraint, ndim)[1]

    def numbered(self, at: int, ndim: int) -> Self | None:
        """Return the form for arrays in which dimension ``at`` numbers those it is for."""
        found = numbered(self.constraint, at, ndim)
        return None if found is None else self._around(found)

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Any:
        """Return the measure that the constraint takes of each slice of a block."""
        return self.constraint.measure(block, axes, xp)

    def merge(self, a: Any, b: Any, xp: Namespace) -> Any:
        """Return the measure of two blocks of the same slices taken together."""
        return self.constraint.merge(a, b, xp)

    def excess(self, known: Any, xp: Namespace) -> Array:
        """Return how far that is from what is allowed of which ``known`` is known."""
        found: Array
        if self.needs == "regions":
            found = self.constraint.violation(known)
        else:
            found = self.constraint.excess(known, xp)
        return found

    def excess_by_entry(self, w: Array, xp: Namespace) -> Array:
        """Return the violation of each entry."""
        return by_entry(self.constraint, w, xp)

    def outside(self, w: Array, xp: Namespace) -> Array:
        """Return which entries are not allowed; NaN may be among them."""
        found: Array = self.constraint.outside(w, xp)
        return found

    @property
    def rounds(self) -> int:
        """How often slices are measured at most."""
        return int(getattr(self.constraint, "rounds", 1))

    def next(self, measure: Any, xp: Namespace) -> Self | None:
        """Return the form that measures again, or None: around that of the constraint."""
        following = self.constraint.next(measure, xp)
        return None if following is None else self._around(following)

    def apply(self, block: Array, measure: Any, xp: Namespace) -> Array:
        """Return a block a share of the way to the allowed one."""
        return self._blended(block, self.constraint.apply(block, measure, xp), xp)

    def project(self, w: Array, xp: Namespace) -> Array:
        """Return entries, slices or a region a share of the way to what is allowed."""
        if self.needs == "regions":  # by its own call, and so is what is made of the result
            pair: Any = (w, self.constraint(w))
            found: Array = of_namespace(xp).run(_blended_pair, _Share(self.rate), pair)
            return found
        return self._blended(w, self.constraint.project(w, xp), xp)

    def _blended(self, w: Array, target: Array, xp: Namespace) -> Array:
        return blended(w, target, self.rate, of_namespace(xp))

    def _around(self, constraint: Any) -> Self:
        """Return this form around another one in the place of the constraint."""
        if constraint is self.constraint:
            return self
        found: Self = state.with_values(self, {"constraint": constraint})
        return found

    # How its executors take short cuts.

    _project_in_place = None

    @property
    def _project_at_once(self) -> Any:
        """Where the constraint has a faster way than rounds, that way and a share of it."""
        whole = getattr(self.constraint, "_project_at_once", None)
        if whole is None:
            return None

        def project(w: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
            return self._blended(w, whole(w, axes, xp), xp)

        return project

    def _outside_at_hand(self, w: Any, xp: Namespace) -> Any:
        return self.constraint._outside_at_hand(w, xp)

    def _project_known(self, w: Any, outside: Any, xp: Namespace) -> Any:
        return self._blended(w, self.constraint._project_known(w, outside, xp), xp)

    @property
    def _stated_derivative(self) -> Any:
        """Where the derivative of the constraint is stated, that of a share of the way."""
        inner: Any = self.constraint
        stated = getattr(inner, "_derivative", None) or getattr(
            inner, "_stated_derivative", None
        )
        if stated is None:
            return None

        def derivative(w: Any, tangent: Any, *where: Any) -> Any:
            xp = where[-1]  # after the axes, which a form on whole slices is not told
            library = of_namespace(xp)
            t, d = map(library.accumulated, (tangent, stated(w, tangent, *where)))
            found = t - (t - d) * library.operand(self.rate, t)
            return xp.astype(found, tangent.dtype, copy=False)

        return derivative


_NEEDS = {"sizes": "measures", EVERYTHING: "regions"}
"""What has to be known at once where it is not the same: there is more to do than rescale."""


@dataclass(frozen=True)
class _Share:
    """A share of the way, which is data where a library compiles."""

    rate: Bound


def _blended_pair(share: _Share, pair: tuple[Array, Array], xp: Namespace) -> Array:
    return blended(*pair, share.rate, of_namespace(xp))
