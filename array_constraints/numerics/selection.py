"""The k largest magnitudes of slices that are read block by block: a search for the last one.

The bits of a number without its sign, as a whole number, are in the order of magnitudes, and
are meant by *magnitude* here. Entries have an order of their own, the one in which they are
kept: larger magnitudes first, and of equal ones the first in C order. A *key* is a magnitude
and a place, counted from the last entry of the slice, so that larger keys come first; no two
entries have the same one.

A slice is kept down to one key, which lies between two that are known. The first round counts
how often each first digit of a magnitude is found. Each further one ranks the candidates,
which are the entries between the two keys. Where there are too many to hold, every so many-th
of a block is held with the number of those up to it, and so for blocks taken together: at key
x there are ``upto(x)`` candidates at least, and at most ``off`` more. Of W candidates in
``2**L`` blocks, S are held of a block and 4 S of several: ``off`` is below ``(1 + L / 4) W /
S``, and ``(2.5 + L / 2) W / S`` candidates are left. Up to S in each block, and 4 S in all,
are exact.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from array_constraints.typing import Array, Count, Namespace

_COUNTERS = 2**20  # 8 MiB
_SAMPLES = 2**18  # of three numbers: 6 MiB; four times as many of several blocks
ROUNDS = 9
"""The first one, and 7 for 2**11 slices of 2**29 entries, of which 128 are held in a block."""


def width(slices: int) -> int:
    """Return how many bits a digit has: fewer where so many slices are counted at a time."""
    return min(max((_COUNTERS // max(slices, 1)).bit_length() - 1, 7), 16)


def capacity(slices: int) -> int:
    """Return how many candidates of a slice are held in a block of so many slices."""
    return min(max(_SAMPLES // max(slices, 1), 2**7), 2**16)


def is_counted(slices: int, entries: int) -> bool:
    """Whether digits are counted first: not where all entries may be held."""
    return entries > capacity(slices)


class Census(NamedTuple):
    """How many entries of each slice are there, are not 0, and are NaN."""

    entries: Count
    nonzero: Any
    nan: Any
    digits: Any = None
    """How often each first digit is found, in a last dimension; None where it was not asked."""
    bits: int = 0
    """How many bits a magnitude has."""
    slices: int = 0
    """How many slices are measured side by side."""


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


class Key(NamedTuple):
    """Where an entry is in the order in which entries are kept."""

    magnitude: Any
    place: Any

    def is_reached(self, magnitudes: Any, places: Any, xp: Namespace) -> Any:
        """Return which entries come not after this one."""
        own: Any = xp.astype(self.magnitude, magnitudes.dtype)
        return (magnitudes > own) | ((magnitudes == own) & (places >= self.place))

    def where(self, mask: Any, other: Key, xp: Any) -> Key:
        """Return this key where ``mask`` is true, and another one elsewhere."""
        pairs = zip(self, other, strict=True)
        return Key(*(xp.where(mask, x, y) for x, y in pairs))


class Selection(NamedTuple):
    """What is known of the last entry that is kept, in each slice."""

    moves: Any
    open: Any
    """Which slices are not done."""
    most: int
    """How many entries are kept."""
    first: Key
    """The first key that the last entry may have: what comes before it is kept."""
    last: Key
    """The last key that it may have: what comes after it is dropped."""
    capacity: int
    entries: int


def started(census: Census, most: int, xp: Any) -> Selection:
    """Return what is known after a census."""
    zero: Any = xp.zeros_like(census.nonzero)
    count: Any = census.entries
    entries = int(count)
    moves = moved(census, most)
    first, last = Key(zero + (2**census.bits - 1), zero + entries), Key(zero, zero)
    opens = moves
    if most == 0:
        last, opens = first, moves & False
    elif census.digits is not None:
        shift, _ = first_digit(census.bits, width(census.slices))
        sums = xp.cumulative_sum(xp.flip(census.digits, axis=-1), axis=-1)
        at = xp.count_nonzero(sums < most, axis=-1, keepdims=True)
        bins = sums.shape[-1]
        at = xp.minimum(at, xp.full_like(at, bins - 1))
        upto = xp.squeeze(xp.take_along_axis(sums, at, axis=-1), axis=-1)
        begins = (bins - 1 - xp.squeeze(at, axis=-1)) << shift
        first, last = Key(begins + ((1 << shift) - 1), zero + entries), Key(begins, zero)
        opens = moves & (upto > most)
    return Selection(moves, opens, most, first, last, capacity(census.slices), entries)


def first_digit(bits: int, width: int) -> tuple[int, int]:
    """Return by how many bits numbers are shifted to leave one digit, and its length."""
    length = min(bits, width)
    return bits - length, length


class Candidates(NamedTuple):
    """Some candidates of each slice in their order, in a last dimension, and their ranks."""

    before: Any
    """How many entries come before all candidates, and are kept."""
    key: Key
    upto: Any
    """How many candidates there are at least that come not after each."""
    off: Any
    """How many more there are at most."""
    capacity: int


def together(a: Candidates, b: Candidates, xp: Any) -> Candidates:
    """Return the candidates of two blocks of the same slices taken together."""
    key = Key(*(xp.concat(pair, axis=-1) for pair in zip(a.key, b.key, strict=True)))
    order = xp.argsort(-key.magnitude, axis=-1, stable=True)
    if not _in_order(_at(key, order, xp), xp):  # some of b are before equal ones of a
        by_place = xp.argsort(-key.place, axis=-1, stable=True)
        magnitude = xp.take_along_axis(key.magnitude, by_place, axis=-1)
        order = xp.argsort(-magnitude, axis=-1, stable=True)
        order = xp.take_along_axis(by_place, order, axis=-1)
    weights = xp.concat([_weights(a.upto, xp), _weights(b.upto, xp)], axis=-1)
    weights = xp.take_along_axis(weights, order, axis=-1)
    upto = xp.cumulative_sum(weights, axis=-1, dtype=weights.dtype)
    key = _at(key, order, xp)
    found = Candidates(a.before + b.before, key, upto, a.off + b.off, a.capacity)
    return _thinned(found, xp)


def _in_order(key: Key, xp: Any) -> bool:
    """Whether places fall where magnitudes are equal."""
    magnitude, place = key
    equal = magnitude[..., 1:] == magnitude[..., :-1]
    return not bool(xp.any(equal & (place[..., 1:] > place[..., :-1])))


def _weights(upto: Any, xp: Any) -> Any:
    """Return by how much each number is larger than the one before."""
    return xp.concat([upto[..., :1], upto[..., 1:] - upto[..., :-1]], axis=-1)


def _at(key: Key, places: Any, xp: Any) -> Key:
    """Return the keys at places in the last dimension."""
    return Key(*(xp.take_along_axis(x, places, axis=-1) for x in key))


def _thinned(found: Candidates, xp: Any) -> Candidates:
    """Return as many candidates as may be held."""
    n, most = found.upto.shape[-1], 4 * found.capacity
    if n <= most:
        return found
    total = found.upto[..., -1:]
    ranks, off = evenly(total, most, xp)
    slices = math.prod(total.shape)
    base = xp.reshape(xp.arange(slices, dtype=xp.int64), total.shape)
    span = xp.max(total) + 1  # slices one behind the other rise, and can be searched at once
    flat = [xp.reshape(x + base * span, (-1,)) for x in (found.upto, ranks)]
    places = xp.reshape(xp.searchsorted(*flat), ranks.shape) - base * n
    upto = xp.take_along_axis(found.upto, places, axis=-1)
    off = found.off + xp.squeeze(off, axis=-1)
    return found._replace(key=_at(found.key, places, xp), upto=upto, off=off)


def evenly(total: Any, most: int, xp: Any) -> tuple[Any, Any]:
    """Return ``most`` ranks up to ``total``, and how many may lie between two neighbours."""
    along, parts = xp.arange(1, most + 1, dtype=xp.int64), max(most, 1)
    ranks = -(-along * total // parts)
    gap = -(-total // parts) - 1
    return ranks, xp.where(gap > 0, gap, xp.zeros_like(gap))


def last_key(found: Selection, measured: Candidates, xp: Any) -> tuple[Key, Any]:
    """Return the last key that the last entry may have, and which slices keep all."""
    upto, wanted = measured.upto, xp.expand_dims(found.most - measured.before, axis=-1)
    at = xp.count_nonzero(upto < wanted, axis=-1, keepdims=True)
    key = _at(measured.key, xp.minimum(at, xp.full_like(at, upto.shape[-1] - 1)), xp)
    every = xp.squeeze(upto[..., -1:] == wanted, axis=-1) | ~found.open
    return found.last.where(every, Key(*(xp.squeeze(x, axis=-1) for x in key)), xp), every


def _ends(key: Key, xp: Any) -> Any:
    """Return which keys are followed by another one: all but where places are not known."""
    magnitude, place = key
    differs = (magnitude[..., 1:] != magnitude[..., :-1]) | (place[..., 1:] != place[..., :-1])
    return xp.concat([differs, xp.ones_like(place[..., :1], dtype=xp.bool)], axis=-1)


def narrowed(found: Selection, measured: Candidates, xp: Any) -> Selection:
    """Return what is known once candidates were ranked."""
    last, every = last_key(found, measured, xp)
    wanted = xp.expand_dims(found.most - measured.before, axis=-1)
    sure = measured.upto + xp.expand_dims(measured.off, axis=-1) < wanted
    along = xp.arange(sure.shape[-1], dtype=xp.int64)
    at = xp.where(sure & _ends(measured.key, xp), along, xp.full_like(along, -1))
    at = xp.max(at, axis=-1, keepdims=True)
    key = _at(measured.key, xp.where(at < 0, xp.zeros_like(at), at), xp)
    begins = xp.squeeze(at < 0, axis=-1) | ~found.open
    key = Key(*(xp.squeeze(x, axis=-1) for x in key))
    first = found.first.where(begins, key._replace(place=key.place - 1), xp)
    opens = found.open & ~every & (measured.off > 0)
    return found._replace(open=opens, first=first, last=last)


def tied(found: Selection, measured: Candidates, following: Selection, xp: Any) -> Any:
    """Return in which slices several entries have the key of the last one.

    That is where places are not known: a key is one entry's, and each round parts candidates.
    """
    last = Key(*(xp.expand_dims(x, axis=-1) for x in following.last))
    equal = (measured.key.magnitude == last.magnitude) & (measured.key.place == last.place)
    upto = xp.max(xp.where(equal, measured.upto, xp.zeros_like(measured.upto)), axis=-1)
    several = found.open & (measured.off == 0) & (upto + measured.before > found.most)
    pairs = zip((*found.first, *found.last), (*following.first, *following.last), strict=True)
    stays = following.open
    for before, after in pairs:
        stays = stays & (before == after)
    return several | stays


def places(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    start: tuple[int, ...],
    lengths: tuple[int, ...],
    xp: Namespace,
) -> Any:
    """Return the places of the entries of a block in their slice, counted from its last one.

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
