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
    yield before
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


def test_a_tile_has_up_to_2_to_the_20_entries(small_tiles, monkeypatch):
    monkeypatch.setattr(grid, "ENTRIES_OF_TILE", small_tiles)
    assert Grid((2**22,), (0,), None, (0,)).steps == (2**20,)


@pytest.mark.parametrize(
    ("shape", "axes", "chunks", "most", "tile"),
    [
        ((100,), (0,), None, 1024, (100,)),
        ((5000,), (0,), None, 1000, (960,)),  # the sums of 64 squares each: 15 of them
        ((1000,), (0,), None, 65, (64,)),
        ((1000, 1000), (0,), None, 1024, (16, 64)),  # 16 entries of a slice, if it has them
        ((1000, 8, 1000), (0,), None, 1024, (16, 1, 64)),
        ((100, 100), (0,), None, 16, (16, 1)),
        ((100, 100), (0,), None, 8, (8, 1)),
        ((1000, 1000), (0,), (2, 8), 1024, (16, 64)),  # 8 x 8 chunks
        ((1000, 10), (0, 1), (1, 3), 1024, (64, 10)),  # 64 x 4 chunks, of which some are cut
        ((5000,), (0,), (3,), 1000, (999,)),  # 333 chunks
        ((100, 100), (0,), (4, 16), 64, (4, 4)),  # a chunk of as many entries is cut
        ((100, 100), (0,), (50, 20), 64, (16, 4)),
        ((64, 128), (0,), (4, 128), 1024, (8, 128)),  # chunks of more than 1024 / 16 slices
    ],
)
def test_how_long_a_tile_is(shape, axes, chunks, most, tile):
    assert Grid(shape, axes, chunks, tuple(range(len(shape))), most).steps == tile


@given(cut=grids())
def test_a_tile_is_of_whole_chunks_or_lies_in_one(cut):
    assert math.prod(cut.steps) <= 64
    if cut.chunks:
        lengths = list(zip(cut.steps, cut.chunks, cut.shape, strict=True))
        of_whole = all(step % chunk == 0 or step == n for step, chunk, n in lengths)
        assert of_whole or all(step <= chunk for step, chunk, _ in lengths)


@given(cut=grids(), entries=st.integers(1, 5000), slices=st.integers(1, 100))
def test_panels_and_regions_hold_as_much_as_asked_for_or_the_least_there_is(
    cut, entries, slices
):
    def held(part):
        lengths = [each.stop - each.start for each in part]
        return math.prod(lengths), slices_of(lengths)

    def slices_of(lengths):
        return math.prod(n for i, n in enumerate(lengths) if i not in cut.axes)

    for panel, fits in cut.panels(entries, slices):
        if fits:
            assert held(panel)[0] <= max(entries, math.prod(cut.quanta))
        else:
            assert held(panel)[1] <= max(slices, slices_of(cut.quanta))
            for region in cut.regions(panel, entries):
                assert held(region)[0] <= max(entries, math.prod(cut.quanta))


def test_whole_slices_of_a_quantum_are_one_region_however_little_is_asked_for():
    cut = Grid((8, 1000), (0,), None, (0, 1), 1024)
    assert cut.has_whole_slices
    assert [fits for _, fits in cut.panels(1, 10**6)] == [True] * 16
    assert not Grid((32, 1000), (0,), None, (0, 1), 1024).has_whole_slices
    assert not any(fits for _, fits in cut.panels(0, 1))  # in the order of a stream


def stops(parts, i):
    return [part[i].stop for part in parts]


def test_a_panel_is_read_once_where_it_fits_and_else_has_as_many_slices_as_asked_for():
    cut = Grid((1000, 190), (0,), None, (0, 1), 1024)
    assert cut.steps == (16, 64)
    for entries, slices, borders, fit in [
        (192 * 1000, 1, [190], True),
        (128 * 1000, 1, [128, 190], True),
        (64 * 1000, 1, [64, 128, 190], True),
        (64 * 1000 - 1, 1, [64, 128, 190], False),  # never less than the slices of a tile
        (64 * 1000 - 1, 100, [64, 128, 190], False),
        (64 * 1000 - 1, 128, [128, 190], False),
        (64 * 1000 - 1, 192, [190], False),
        (64 * 1000 - 1, 10**6, [190], False),
    ]:
        panels = list(cut.panels(entries, slices))
        assert stops([panel for panel, _ in panels], 1) == borders
        assert all(fits is fit for _, fits in panels)


@pytest.mark.parametrize(
    ("entries", "rows", "columns"),
    [
        (1, 16, 64),  # never less than a tile
        (2 * 1024, 16, 128),
        (3 * 1024, 16, 190),  # as wide as the array: three tiles
        (6 * 1024, 32, 190),
        (11 * 1024, 32, 190),  # a power of two of them: never three
        (100 * 1024, 512, 190),
    ],
)
def test_regions_grow_along_the_fastest_dimension_first(entries, rows, columns):
    cut = Grid((1000, 190), (0,), None, (0, 1), 1024)
    assert cut.steps == (16, 64)
    first, *_ = cut.regions((slice(0, 1000), slice(0, 190)), entries)
    assert first == (slice(0, rows), slice(0, columns))


def test_regions_of_a_narrow_panel_at_the_end_are_as_large_as_others():
    cut = Grid((100, 100), (0,), None, (0, 1), 1024)
    assert cut.steps == (16, 64)
    regions = list(cut.regions((slice(0, 100), slice(64, 100)), 5 * 16 * 36))
    assert stops(regions, 0) == [64, 100]  # 4 tiles one below the other, a power of two
    assert stops(regions, 1) == [100, 100]


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


def test_seven_measures_are_merged_in_a_binary_tree():
    forest = Forest(lambda a, b: f"({a}{b})")
    for i in (6, 3, 0, 5, 2, 4, 1):
        forest.add((), 0, i, f"{i}")
    assert sorted(forest.left()) == [
        ((), 0, 6, "6"),
        ((), 1, 2, "(45)"),
        ((), 2, 0, "((01)(23))"),
    ]
    assert forest.measures() == {(): "((((01)(23))(45))6)"}


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
