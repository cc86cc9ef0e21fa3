"""The form of constraints that need all entries of a slice at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from array_constraints.forms.form import AlongAxis, Needs
from array_constraints.typing import Array, Namespace


class WholeSlice(AlongAxis):
    """A constraint that needs all entries of a slice at once: a sort, a matrix.

    Its methods see ``slices``, whose last dimensions are those of ``axis`` and whose leading
    dimensions number the slices. Of a large array in memory they see some slices at a time, so
    that what is held beside them is little.

    Examples
    --------
    >>> import numpy as np
    >>> class Sorted(WholeSlice):
    ...     axis = 0
    ...     def project(self, slices, xp):
    ...         return xp.sort(slices, axis=-1)
    ...     def excess(self, slices, xp):
    ...         moved = xp.abs(slices - xp.sort(slices, axis=-1))
    ...         return xp.max(moved, axis=-1, keepdims=True)
    >>> w = np.asarray([3.0, 1.0, 2.0])
    >>> Sorted()(w), Sorted().violation(w)
    (array([1., 2., 3.]), array([2.]))
    """

    needs: ClassVar[Needs] = "slices"

    @abstractmethod
    def project(self, slices: Array, xp: Namespace) -> Array:
        """Return the allowed slices, in the same shape."""

    @abstractmethod
    def excess(self, slices: Array, xp: Namespace) -> Array:
        """Return how far each slice is from what is allowed, its dimensions kept."""
