"""The k largest magnitudes of slices that are read block by block: their digits, one by one.

The bits of a number without its sign, as a whole number, are in the order of magnitudes, and
are meant by *magnitude* here. A round counts how often each next digit is found among those
that begin as the k-th largest does, and so learns its next digit. Of equal ones the first are
kept: where more remain than are wanted, further rounds find the place of the last one likewise.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_constraints.typing import Array, Count, Namespace

_COUNTERS = 2**23  # 64 MiB
_LEAST, _MOST = 7, 11
ROUNDS = 16
"""The first one, 9 of 7 bits for float64, and 6 of 7 bits for one of 2**40 places."""


def width(slices: int) -> int:
    """Return how many bits a digit has: fewer where so many slices are counted at a time."""
    return min(max((_COUNTERS // max(slices, 1)).bit_length() - 1, _LEAST), _MOST)


class Census(NamedTuple):
    """How many entries of each slice are there, are not 0, and are NaN."""

    entries: Count
    nonzero: Any
    nan: Any
    digits: Any = None
    """How often each first digit is found, in a last dimension; None where it was not asked."""
    bits: int = 0
    """How many bits a magnitude has."""
    width: int = 0
    """How many bits a digit has."""


def merge(a: Census, b: Census) -> Census:
    """Return the census of two blocks of the same slices taken together."""
    digits = None if a.digits is None or b.digits is None else a.digits + b.digits
    return a._replace(
        entries=a.entries + b.entries,
        nonzero=a.nonzero + b.nonzero,
        nan=a.nan + b.nan,
        digits=digits,
    )


def moved(census: Census, most: Any) -> Any:
    """Return which slices have more than ``most`` entries other than 0, and no NaN."""
    return (census.nonzero > most) & (census.nan == 0)


def excess(census: Census, most: Any, xp: Namespace) -> Array:
    """Return how many entries too many are not 0; NaN where one is NaN."""
    over = census.nonzero - most
    count = xp.where(moved(census, most), over, xp.zeros_like(over))
    wide = xp.astype(count, xp.float64)
    return xp.where(census.nan == 0, wide, xp.full_like(wide, math.nan))


class Selection(NamedTuple):
    """What is known of the last entry that is kept, in each slice: the first digits.

    Where all entries that begin so are kept, more is not asked: the other digits are 0.
    """

    moves: Any
    wanted: Any
    """How many of the entries that begin so are to be kept."""
    held: Any
    """How many entries begin so."""
    magnitude: Any
    place: Any
    """The place, counted from the last entry of the slice: the first is the largest."""
    magnitude_bits: int
    """How many bits of magnitudes are not known yet."""
    place_bits: int
    width: int
    entries: int

    @property
    def open(self) -> Any:
        """Which slices are not done."""
        return self.moves & (self.held > self.wanted)


def started(census: Census, most: int, xp: Namespace) -> Selection:
    """Return what is known after a census."""
    zero = xp.zeros_like(census.nonzero)
    entries: Any = census.entries
    found = Selection(
        moved(census, most),
        zero + most,
        zero + entries,
        zero,
        zero,
        census.bits,
        max(int(entries) - 1, 0).bit_length(),
        census.width,
        int(entries),
    )
    return found if census.digits is None else narrowed(found, census.digits, xp)


def first_digit(bits: int, width: int) -> tuple[int, int]:
    """Return by how many bits numbers are shifted to leave one digit, and its length."""
    length = min(bits, width)
    return bits - length, length


def narrowed(found: Selection, counts: Any, xp: Any) -> Selection:
    """Return what is known once it was counted how often each next digit is found."""
    from_largest = xp.flip(counts, axis=-1)
    sums = xp.cumulative_sum(from_largest, axis=-1)
    wanted = xp.expand_dims(found.wanted, axis=-1)
    before = sums < wanted  # these digits are kept whatever comes after
    place = xp.count_nonzero(before, axis=-1)
    goes_on = found.open
    at = xp.expand_dims(xp.where(goes_on, place, xp.zeros_like(place)), axis=-1)
    upto, held = (
        xp.squeeze(xp.take_along_axis(x, at, axis=-1), axis=-1) for x in (sums, from_largest)
    )
    digit = xp.where(goes_on, counts.shape[-1] - 1 - place, xp.zeros_like(place))
    known = found._replace(
        wanted=xp.where(goes_on, found.wanted - (upto - held), found.wanted),
        held=xp.where(goes_on, held, found.held),
    )
    if found.magnitude_bits:
        shift, _ = first_digit(found.magnitude_bits, found.width)
        return known._replace(
            magnitude=found.magnitude + (digit << shift), magnitude_bits=shift
        )
    shift, _ = first_digit(found.place_bits, found.width)
    return known._replace(place=found.place + (digit << shift), place_bits=shift)


def digits(found: Selection) -> int:
    """Return how many values the next digit has."""
    _, length = first_digit(found.magnitude_bits or found.place_bits, found.width)
    return 1 << length


def next_digits(
    found: Selection, magnitudes: Any, places: Any, xp: Namespace
) -> tuple[Any, Any]:
    """Return the next digit of entries, and which of them begin as the last one kept."""
    magnitude: Any = xp.astype(found.magnitude, magnitudes.dtype)
    if found.magnitude_bits:
        shift, length = first_digit(found.magnitude_bits, found.width)
        alike = (magnitudes >> found.magnitude_bits) == (magnitude >> found.magnitude_bits)
        digits = magnitudes >> shift
    else:
        shift, length = first_digit(found.place_bits, found.width)
        alike = (places >> found.place_bits) == (found.place >> found.place_bits)
        alike = alike & (magnitudes == magnitude)
        digits = places >> shift
    return digits & ((1 << length) - 1), alike & found.open


def kept(found: Selection, magnitudes: Any, places: Any, xp: Namespace) -> Any:
    """Return which entries are kept once all slices are done."""
    magnitude: Any = xp.astype(found.magnitude, magnitudes.dtype)
    first = places >= found.place if found.magnitude_bits == 0 else True
    return (magnitudes > magnitude) | ((magnitudes == magnitude) & first) | ~found.moves


def places(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    start: tuple[int, ...],
    lengths: tuple[int, ...],
    xp: Namespace,
) -> Any:
    """Return the places of entries of a block in their slices, counted from the last one.

    The block starts at ``start`` of an array whose dimensions have these ``lengths``.
    """
    stride, found = 1, xp.zeros((1,) * len(shape), dtype=xp.int64)
    for i in reversed(axes):
        along = tuple([shape[i] if j == i else 1 for j in range(len(shape))])
        numbers = xp.reshape(xp.arange(start[i], start[i] + shape[i]), along)
        found = found + (lengths[i] - 1 - numbers) * stride
        stride *= lengths[i]
    return found


def share(density: float, entries: int) -> int:
    """Return the whole number nearest to a share of entries, halves up."""
    return math.floor(density * entries + 0.5)
