"""Bounds of entries, rounded inwards to a dtype: what is brought to one is never outside."""

from __future__ import annotations

import functools
import math
from typing import Any

from array_constraints.numerics.formats import FORMATS, Format


@functools.lru_cache(maxsize=1024)
def bounds(low: float, high: float, dtype: str) -> tuple[float, float]:
    """Return the least and the largest number of a dtype in ``[low, high]``.

    Where there is none, the first is above the second, or infinite, or the second is.
    """
    if dtype in FORMATS:
        return _least(low, FORMATS[dtype]), 0.0 - _least(-high, FORMATS[dtype])
    bits, signed = int(dtype.removeprefix("u").removeprefix("int")), dtype[0] != "u"
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    lowest = least if low == -math.inf else math.inf if low == math.inf else math.ceil(low)
    highest = most if high == math.inf else -math.inf if high == -math.inf else math.floor(high)
    return max(lowest, least), min(highest, most)


def _least(x: float, fmt: Format) -> float:
    """Return the least number of a format that is not less than ``x``."""
    if math.isinf(x):
        return x
    if x > fmt.largest:
        return math.inf
    if x < -fmt.largest:
        return -fmt.largest
    exponent = max(math.frexp(x)[1], 3 - fmt.max_exponent) - fmt.digits
    step = math.ldexp(1.0, exponent)  # between two numbers there: a subnormal one at least
    if isinstance(x, int):
        return float(-(-x // int(step)) * int(step)) if step >= 1 else float(x)
    return math.ceil(x / step) * step + 0.0  # 0.0 of -0.0


def arrays(low: Any, high: Any, w: Any, library: Any) -> tuple[Any, Any]:
    """Return bounds that are arrays in the dtype of ``w``'s accumulator in that of ``w``."""
    xp, fmt = library.xp, library.precision(w).weight
    if library.name_of(w.dtype) in FORMATS:
        low, high = (_rounded_up(x, w, fmt, library) for x in (low, -high))
        return low, xp.zeros_like(high) - high
    info = xp.iinfo(w.dtype)
    least, most = (xp.full_like(low, x) for x in (info.min, info.max))
    found = (
        xp.minimum(xp.maximum(rounded, least), most)
        for rounded in (xp.ceil(low), xp.floor(high))
    )
    low, high = (xp.astype(x, w.dtype) for x in found)
    return low, high


def _rounded_up(x: Any, w: Any, fmt: Format, library: Any) -> Any:
    """Return an array of numbers in a wider dtype, each rounded to the next that is not less.

    Adding a roundoff takes what was rounded down past the middle to the next number, and less
    than a half beyond it: to that one it is rounded.
    """
    xp, dtype = library.xp, w.dtype
    x = xp.where(x > -math.inf, xp.maximum(x, xp.full_like(x, -fmt.largest)), x)
    near = xp.astype(x, dtype, copy=False)
    if near.dtype == x.dtype:
        return near
    subnormal = fmt.smallest_normal * 2 * fmt.roundoff
    more = xp.maximum(xp.abs(x) * fmt.roundoff, xp.full_like(x, subnormal / 2))
    short = library.accumulated(near) < x
    return xp.where(short, xp.astype(x + more, dtype, copy=False), near)
