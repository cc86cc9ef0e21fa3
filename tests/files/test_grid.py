"""Tiles, regions and panels cover an array once; the tree of measures is always the same."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from array_constraints.executors import grid
from array_constraints.executors.grid import Forest, Grid


@st.composite
def grids(draw):
    shape = tuple(draw(st.lists(st.integers(1, 40), min_size=0, max_size=4)))
    axes = tuple(i for i in range(len(shape)) if draw(st.booleans()))
    chunked = draw(st.booleans())
    chunks = tuple(draw(st.integers(1, 50)) for _ in shape) if chunked else None
    order = tuple(range(len(shape)))
    return Grid(shape, axes, chunks, order[::-1] if draw(st.booleans()) else order)


@pytest.fixture(autouse=True, scope="module")
def small_tiles():
    before, grid.ENTRIES_OF_TILE = grid.ENTRIES_OF_TILE, 64
    yield
    grid.ENTRIES_OF_TILE = before


def cover(parts, shape):
    times = np.zeros(shape, int)
    for part in parts:
        times[part] += 1
    return (times == 1).all()


@given(cut=grids(), entries=st.integers(1, 5000), slices=st.integers(1, 100))
def test_panels_regions_and_tiles_cover_every_entry_once(cut, entries, slices):
    panels = list(cut.panels(entries, slices))
    regions = [[p] if fits else list(cut.regions(p, entries)) for p, fits in panels]
    assert cover([panel for panel, _ in panels], cut.shape)
    assert cover([region for some in regions for region in some], cut.shape)
    tiles = [part for some in regions for region in some for *_, part in cut.tiles(region)]
    assert cover(tiles, cut.shape)
    for panel, _ in panels:
        assert all(panel[i] == slice(0, cut.shape[i]) for i in cut.axes)


@given(cut=grids(), sizes=st.lists(st.integers(1, 5000), min_size=2, max_size=2))
def test_tiles_are_the_same_however_large_the_regions_are(cut, sizes):
    found = [
        {
            (column, index, str(part))
            for panel, fits in cut.panels(size, 4)
            for region in ([panel] if fits else cut.regions(panel, size))
            for column, index, part in cut.tiles(region)
        }
        for size in sizes
    ]
    assert found[0] == found[1]


@given(cut=grids(), entries=st.integers(1, 5000))
def test_a_column_has_its_tiles_numbered_from_zero(cut, entries):
    columns: dict = {}
    for panel, _ in cut.panels(entries, 10):
        for column, index, _ in cut.tiles(panel):
            columns.setdefault(column, []).append(index)
    expected = math.prod(cut.count(i) for i in cut.axes)
    assert all(sorted(indices) == list(range(expected)) for indices in columns.values())


@given(cut=grids(), entries=st.integers(64, 5000))
def test_regions_hold_whole_chunks(cut, entries):
    if cut.chunks is None:
        return
    for panel, fits in cut.panels(entries, 10):
        for region in [panel] if fits else cut.regions(panel, entries):
            for part, chunk, n in zip(region, cut.chunks, cut.shape, strict=True):
                assert part.start % chunk == 0
                assert part.stop % chunk == 0 or part.stop == n


@given(
    length=st.integers(1, 70),
    order=st.randoms(use_true_random=False),
    borders=st.lists(st.integers(0, 70)),
)
def test_measures_are_merged_in_one_order_however_they_come_in(length, order, borders):
    def merge(a, b):
        return f"({a}{b})"

    whole = Forest(merge)
    for i in range(length):
        whole.add((), 0, i, f"{i}.")
    parts = sorted({0, length, *(b for b in borders if b < length)})
    nodes = []
    for start, stop in pairwise(parts):  # each region merges its own
        region = Forest(merge)
        for i in range(start, stop):
            region.add((), 0, i, f"{i}.")
        nodes += region.left()
    order.shuffle(nodes)
    merged = Forest(merge)
    merged.add_all(nodes)
    assert merged.measures() == whole.measures()
    leaves = whole.measures()[()].replace("(", "").replace(")", "")
    assert leaves == "".join(f"{i}." for i in range(length))


@pytest.mark.parametrize(
    ("shape", "axes", "panels", "regions"),
    [
        ((16384, 32768), (0,), 1, 32),  # slices cross chunks: read twice
        ((2, 2**28), (0,), 32, 32),  # rows larger than a chunk are split by columns
        ((10000, 4096), (1,), 3, 3),
        ((3, 3, 4096, 4096), (0, 1, 2), 1, 9),
    ],
)
def test_chunks_of_64_mebibytes(shape, axes, panels, regions, monkeypatch):
    monkeypatch.setattr(grid, "ENTRIES_OF_TILE", 2**20)
    cut = Grid(shape, axes, None, tuple(range(len(shape))))
    found = list(cut.panels(2**24, 2**18))
    assert len(found) == panels
    cuts = [r for p, fits in found for r in ([p] if fits else cut.regions(p, 2**24))]
    assert len(cuts) == regions
    assert all(math.prod(part.stop - part.start for part in r) <= 2**24 for r in cuts)
