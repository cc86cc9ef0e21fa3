"""The form of constraints on each entry alone, or on groups of a few neighbours."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from array_constraints import reductions
from array_constraints.executors import acceptance
from array_constraints.forms.form import Form, Needs
from array_constraints.libraries import of_namespace
from array_constraints.typing import Array, Namespace, name_of


class Elementwise(Form):
    """A constraint on each entry, or each group of few; takes any real numeric dtype.

    Examples
    --------
    >>> import numpy as np
    >>> class NonPositive(Elementwise):
    ...     def project(self, w, xp):
    ...         return xp.where(w > 0, xp.zeros_like(w), w)
    ...     def excess(self, w, xp):
    ...         return xp.maximum(w, xp.zeros_like(w))
    >>> w = np.asarray([-1, 2])
    >>> NonPositive()(w), NonPositive().violation(w)
    (array([-1,  0]), array([0., 2.]))
    """

    needs: ClassVar[Needs] = "entries"

    def groups(self, ndim: int) -> tuple[int, ...]:
        """Return how many neighbours in each of ``ndim`` dimensions are looked at together.

        By default 1: each entry is on its own. Blocks are cut between groups alone.
        """
        return (1,) * ndim

    _project_in_place: Any = None
    """``(w, outside, xp)``: write the projection of an array at hand into it."""

    @abstractmethod
    def project(self, w: Array, xp: Namespace) -> Array:
        """Return the allowed value of each entry of ``w``, in its shape and dtype.

        An entry whose ``excess`` is 0 comes back as it is, bit for bit.
        """

    @abstractmethod
    def excess(self, w: Array, xp: Namespace) -> Array:
        """Return the distance of each entry, in the accumulator's dtype, to what is allowed."""

    def outside(self, w: Array, xp: Namespace) -> Array:
        """Return which entries are not allowed; NaN may be among them.

        Those whose ``excess`` is not 0; a subclass may know it from ``w`` as it is.
        """
        excess = self.excess(reductions.accumulated(w, xp), xp)
        return ~xp.equal(excess, xp.zeros_like(excess))

    def _outside_at_hand(self, w: Any, xp: Namespace) -> Any:
        """Return which entries of an array at hand are not allowed; None if all are."""
        outside = self.outside(w, xp)
        library: Any = of_namespace(xp)
        return outside if library.some(outside) else None

    def _project_known(self, w: Any, outside: Any, xp: Namespace) -> Any:
        """Return the projection of an array at hand, of which ``outside`` is not allowed."""
        return self.project(w, xp)

    def validate(self, w: Array) -> None:
        acceptance.require_real_numeric(name_of(type(self)), w)
