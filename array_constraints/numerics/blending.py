"""A share of the way from one number to another, in the format of an accumulator."""

from __future__ import annotations

from typing import Any

from array_constraints.typing import Array


def blended(w: Array, target: Array, rate: Any, library: Any) -> Array:
    """Return ``w + rate * (target - w)``, rounded once to the dtype of both.

    Exactly ``w`` where they are equal, the signs of zeros too, and exactly ``target`` at a rate
    of 1; within 3 roundoffs of the larger magnitude between. What is not finite stays ``w``,
    short of a rate of 1.
    """
    xp, wide, end = library.xp, library.accumulated(w), library.accumulated(target)
    share = library.operand(rate, wide)
    finite = xp.isfinite(wide) & xp.isfinite(end)
    v, p = (xp.where(finite, x, xp.zeros_like(x)) for x in (wide, end))
    opposite = ((v < 0) & (p > 0)) | ((v > 0) & (p < 0))  # whose difference may overflow
    q = xp.where(opposite, v, p)
    # From the nearer end: a difference of numbers far apart has lost the digits of the other.
    near, far = v - (v - q) * share, q - (q - v) * (1 - share)
    if isinstance(share, float):
        found, unbounded = near if share <= 0.5 else far, target if share == 1 else w
    else:
        found = xp.where(share <= 0.5, near, far)
        unbounded = xp.where(share == 1, target, w)
    found = xp.astype(
        xp.where(opposite, v * (1 - share) + p * share, found), w.dtype, copy=False
    )
    rest = xp.where(xp.isfinite(wide), target, unbounded)
    result: Array = xp.where(finite, found, rest)
    return result
