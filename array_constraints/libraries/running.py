"""How libraries run a form: at once, in each chunk, in a loop, and with its derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_constraints.numerics import isotonic, isotonic_at_hand
from array_constraints.typing import Array


class Running:
    """The part of a :class:`Library` that calls the methods of forms."""

    xp: Any
    at_hand: Any

    def run(self, function: Callable[..., Any], form: Any, w: Any) -> Any:
        """Return ``function(form, w, xp)``, one expression of a form's methods."""
        return function(form, w, self.xp)

    def by_entry(self, function: Callable[..., Array], form: Any, w: Array) -> Array:
        """Return ``function(form, w, xp)``, of an elementwise form."""
        return function(form, w, self.xp)

    def by_whole_slice(
        self,
        function: Callable[..., Array],
        form: Any,
        w: Array,
        axes: tuple[int, ...],
        reduced: bool = False,
    ) -> Array:
        """Return ``function(form, w, xp)``, of a form that needs whole slices along ``axes``.

        ``reduced``: it has one entry for each slice, in the accumulator's dtype.
        """
        return function(form, w, self.xp)

    def by_slice(self, method: Callable[..., Array], measure: Any, *blocks: Array) -> Array:
        """Return what a method of a form makes of blocks and the measure of their slices."""
        return method(*blocks, measure, self.xp)

    def in_rounds(self, form: Any, w: Array, axes: tuple[int, ...]) -> Array:
        """Return the projection under a form that measures several times.

        After ``form.rounds`` of them at most, as no value says whether all slices are done.
        """
        if form._project_at_once is not None:
            found: Array = form._project_at_once(w, axes, self.xp)
            return found
        measure = form.measure(w, axes, self.xp)
        for _ in range(1, form.rounds):
            following = form.next(measure, self.xp)
            if following is None:
                break
            form, measure = following, following.measure(w, axes, self.xp)
        excess = self.by_slice(form.excess, measure)
        allowed = self.xp.equal(excess, self.xp.zeros_like(excess))
        projected: Array = self.xp.where(allowed, w, self.by_slice(form.apply, measure, w))
        return projected

    def excess_in_rounds(self, form: Any, w: Array, axes: tuple[int, ...]) -> Array:
        """Return how far slices are from what is allowed, as ``in_rounds`` decides on them."""
        return self.by_slice(form.excess, form.measure(w, axes, self.xp))

    def quiet(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function in which the library reports no roundoff, overflow or NaN."""
        return function

    def quietly(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function so that the library reports no roundoff, overflow or NaN."""
        return self.quiet(function)(*arguments)

    def differentiated(
        self, value: Callable[..., Array], derivative: Callable[..., Array], w: Any, bounds: Any
    ) -> Array:
        """Return ``value(w, bounds)``; its derivative by ``w`` is ``derivative``, symmetric."""
        return value(w, bounds)

    def fence(self, w: Array) -> Array:
        """Return ``w``, read from memory again where a compiler would keep a copy of it."""
        return w

    def factor(self, target: Array, root: Array, moved: Array) -> tuple[Array, Array]:
        """Return ``target / root``, one for each slice, 1 where it is kept, and which move."""
        return target / root, moved

    def nondecreasing(self, x: Any) -> Any:
        """Return the nearest rows, of finite numbers along the last dimension, that never fall.

        They never fall at all; a mean is within L + 1 roundoffs of that of the magnitudes.
        """
        regression = isotonic_at_hand.regression if self.at_hand(x) else isotonic.regression
        return regression(x, self)
