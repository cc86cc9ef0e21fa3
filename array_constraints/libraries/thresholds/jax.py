"""How JAX finds thresholds: a loop that ends when all slices are done, and starts near them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from array_constraints.libraries.thresholds.expression import Thresholds
from array_constraints.numerics.thresholds import Search, Threshold, sample

_MOST = 64  # more than log2 n + (digits + 18) / 2 rounds are never needed
_SAMPLE = 1024


class JaxThresholds(Thresholds):
    """Sums that XLA fuses, and Newton's steps in a loop."""

    def total(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Sum as XLA does, in windows: within 240 roundoffs at 2**22 entries."""
        return jnp.sum(x, axis=axes, keepdims=True)

    def ends(self, v: Any, w: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
        """Compare in the dtype of ``w``: in float64 that takes XLA on CPUs ten times as long.

        Which are below 0 is told by their bits: it takes subnormal numbers for zeros.
        """
        smallest, largest = (
            self.accumulated(end(w, axis=axes, keepdims=True)) for end in (jnp.min, jnp.max)
        )
        below = jnp.any(self.library.negative(w), axis=axes, keepdims=True)
        least = -self.library.precision(w).accumulator.smallest_normal
        return jnp.where(below & (smallest >= 0), least, smallest), largest

    def threshold(self, found: Search, w: Any) -> Threshold:
        """Search from the threshold of a sample; the root of it moves with the target alone."""
        fixed = found._replace(
            target=jax.lax.stop_gradient(found.target),
            largest=jax.lax.stop_gradient(found.largest),
        )
        w = jax.lax.stop_gradient(w)
        t, part = (
            Threshold(-fixed.target, jnp.zeros_like(fixed.target)),
            sample(w, found.axes, _SAMPLE),
        )
        if part is not None:
            share = _entries(part, found.axes) / _entries(w, found.axes)
            alike = fixed._replace(target=fixed.target * share)
            start, _ = _searched(alike, fixed, part, t)
            t = Threshold(
                jnp.minimum(start.high, -fixed.target / _entries(w, found.axes)), t.low
            )
        t, count = _searched(fixed, fixed, w, t)
        if found.exact:
            t, _, count = fixed.step(fixed.offsets(w), t, True)
        moves = (found.target - fixed.target) / jnp.maximum(count, 1)
        return Threshold(t.high, t.low - moves)


def _entries(w: Any, axes: tuple[int, ...]) -> int:
    entries = 1
    for i in axes:
        entries *= int(w.shape[i])
    return entries


def _searched(found: Search, whole: Search, w: Any, t: Threshold) -> tuple[Threshold, Any]:
    """Return the threshold for a target, of offsets that are clipped as for the whole."""

    def goes_on(state: Any) -> Any:
        rounds, some, *_ = state
        return (rounds < _MOST) & some

    def step(state: Any) -> Any:
        rounds, _, t, _ = state
        z = whole.offsets(jax.lax.optimization_barrier(w))
        after, f, count = found.step(z, t)
        far = jnp.abs(f) > found.tolerance * found.target  # the others stay, whoever goes on
        lowest = -whole.target
        below = after.high < lowest
        after = Threshold(
            jnp.where(below, lowest, after.high), jnp.where(below, 0.0, after.low)
        )
        t = Threshold(*[jnp.where(far, new, old) for new, old in zip(after, t, strict=True)])
        return rounds + 1, jnp.any(far), t, count

    zero = jnp.zeros_like(t.high)
    _, _, t, count = jax.lax.while_loop(goes_on, step, (0, True, t, zero))
    return t, count
