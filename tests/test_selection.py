"""The search for the last entry that is kept, in rounds on parts of slices."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from array_constraints import Sparse
from array_constraints.libraries import of
from array_constraints.numerics import selection

FAMILIES = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "rounded": lambda rng, shape: rng.standard_normal(shape).round(1),
    "ties": lambda rng, shape: rng.integers(-3, 4, shape),
    "two values": lambda rng, shape: rng.integers(0, 2, shape),
}


def cut(shape, rng):
    """Return the parts of each dimension."""
    for n in shape:
        borders = sorted({0, n, *rng.integers(0, n, 3, endpoint=True).tolist()})
        yield [slice(start, stop) for start, stop in itertools.pairwise(borders)]


def merged(form, measures, xp):
    """Merge neighbours, then what came of them, and so on."""
    while len(measures) > 1:
        pairs = [measures[i : i + 2] for i in range(0, len(measures), 2)]
        measures = [form.merge(*p, xp) if len(p) == 2 else p[0] for p in pairs]
    return measures[0]


def in_parts(w, constraint, axes, rng):
    """Return a projection whose slices are measured in parts, and how often these are read."""
    xp, out, reads = of(w).xp, np.empty_like(w), 0
    parts = list(cut(w.shape, rng))
    free = [parts[i] if i not in axes else [slice(None)] for i in range(w.ndim)]
    for panel in itertools.product(*free):
        own = (parts[i] if i in axes else [panel[i]] for i in range(w.ndim))
        tiles, form, rounds = list(itertools.product(*own)), constraint, 0
        while True:
            forms = [form.for_part(w.shape, axes, tile) for tile in tiles]
            pairs = zip(forms, tiles, strict=True)
            found = [part.measure(w[tile], axes, xp) for part, tile in pairs]
            whole, rounds = merged(form, found, xp), rounds + 1
            last = forms[0] if form is constraint else form
            if (following := last.next(whole, xp)) is None:
                break
            form = following
        for part, tile in zip(forms, tiles, strict=True):
            stays = part.excess(whole, xp) == 0
            out[tile] = np.where(stays, w[tile], part.apply(w[tile], whole, xp))
        reads = max(reads, rounds + 1)
    return out, reads


@pytest.mark.parametrize("capacity", [32, 64, 10**6])
@pytest.mark.parametrize("counted", [True, False], ids=["digits", "no digits"])
def test_parts_of_any_shape_give_what_the_whole_gives(capacity, counted, monkeypatch):
    monkeypatch.setattr(selection, "capacity", lambda slices: capacity)
    monkeypatch.setattr(selection, "is_counted", lambda slices, entries: counted)
    monkeypatch.setattr(selection, "_COUNTERS", 2**7)
    rng, most = np.random.default_rng(0), 0
    for family, dtype in itertools.product(FAMILIES, ("float16", "float32", "float64")):
        for axis, largest in ((0, (9, 40, 7)), ((0, 2), (20, 3, 40)), (None, (1, 3000, 1))):
            shape = tuple(rng.integers(1, largest, endpoint=True).tolist())
            w = FAMILIES[family](rng, shape).astype(dtype)
            axes = range(3) if axis is None else np.atleast_1d(axis).tolist()
            n = math.prod(shape[i] for i in axes)
            constraint = Sparse(int(rng.integers(0, n, endpoint=True)), axis=axis)
            found, reads = in_parts(w, constraint, tuple(axes), rng)
            assert found.tobytes() == constraint(w).tobytes()
            most = max(most, reads)
    assert most <= (4 if capacity > 64 else 6)


def test_ranks_are_as_exact_as_is_said():
    rng, most = np.random.default_rng(1), 50
    numbers = np.sort(rng.integers(0, 2**40, 3000))[::-1].astype(np.int64)
    own = rng.integers(0, 8, numbers.size)
    parts = []
    for i in range(8):
        held = numbers[own == i]
        xp = of(numbers).xp
        upto, off = selection.evenly(np.asarray([held.size]), most, xp)
        key = selection.Key(held[upto - 1], np.zeros_like(upto))
        parts.append(selection.Candidates(np.asarray(0), key, upto, off[0], most))
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [selection.together(a, b, xp) for a, b in pairs]
    (found,) = parts
    assert found.upto.size == 4 * most
    ranks = np.count_nonzero(numbers[:, None] >= found.key.magnitude, axis=0)
    assert (found.upto <= ranks).all()
    assert (ranks <= found.upto + found.off).all()
    assert 0 < found.off <= (1 + 3 / 4) * numbers.size / most
