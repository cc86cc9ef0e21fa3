"""Storage that rounds, found out by trying: other numbers are read back than were written.

Codecs are not known by name: anyone may register one, and what it does may depend on its
parameters and on the numbers. So numbers of every kind are written to a small array with the
same storage, in memory, and read back.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from array_constraints.files.formats.base import numpy_dtype

ENTRIES = 2**12
"""Entries of a chunk that is tried, at most about: enough for all kinds of numbers."""
_LEAST_TRIES = 16
"""The numbers of each kind that are tried where a chunk has fewer."""
_FRACTION_BITS = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}


def longest_side(dimensions: int) -> int:
    """Return how long a chunk that is tried may be in each of so many dimensions."""
    side: float = ENTRIES ** (1 / max(1, dimensions))
    return max(2, math.floor(side))


def fault_of(dtype: str, shape: Sequence[int], rewritten: Callable[[Any], Any]) -> str | None:
    """Say which numbers do not come back as they were written, if any.

    ``rewritten`` writes an array of that dtype and shape, and reads it again. A chunk holds
    numbers of one kind: some codecs round or do not for what else is in the chunk.
    """
    import numpy

    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for kind, block in _blocks(dtype, tuple(shape)):
            if rewritten(block.copy()).tobytes() != block.tobytes():
                return f"{kind} do not come back as they were written"
    return None


def _blocks(dtype: str, shape: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Return blocks of random numbers of all signs, each with what numbers they are."""
    import numpy

    fraction = _FRACTION_BITS[dtype]
    size = 8 * numpy_dtype(dtype).itemsize
    one, special = 2 ** (size - fraction - 2) - 1, 2 ** (size - fraction - 1) - 1
    exponents = {
        "numbers from 1 to 2": (one, one),
        "numbers from 0.001 to 10": (max(1, one - 10), one + 3),
        "numbers of all magnitudes": (1, special - 1),
        "numbers below the normal ones": (0, 0),
        "infinities and NaNs": (special, special),
        "numbers of all kinds": (0, special),
    }
    random, quiet = numpy.random.default_rng(0), numpy.uint64(2 ** (fraction - 1))
    for kind, (least, most) in exponents.items():
        for _ in range(max(1, _LEAST_TRIES // max(1, math.prod(shape)))):
            exponent = random.integers(least, most + 1, shape, "u8")
            bits = random.integers(0, 2**fraction, shape, "u8")
            # No codec that makes NaN quiet ever gives another to write.
            bits = numpy.where(exponent == special, bits | quiet, bits)
            bits = numpy.where(random.random(shape) < 1 / 8, 0, bits)  # zeros, infinities
            bits |= exponent << numpy.uint64(fraction)
            bits |= random.integers(0, 2, shape, "u8") << numpy.uint64(size - 1)
            yield kind, bits.astype(f"u{size // 8}").view(numpy_dtype(dtype))


def refusal(place: object, name: str, storage: str, fault: str) -> ValueError:
    """Return the error for an array whose storage does not keep what is written."""
    return ValueError(
        f"{place}: {name!r} is stored through {storage}, but {fault}: rewrite the array "
        "without what rounds, or leave it out by the patterns that select"
    )
