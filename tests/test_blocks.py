"""How arrays at hand are cut into blocks; what is kept beside a change keeps its bits."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import DTYPES, bits

from array_constraints import Elementwise, MaxNorm, NonNeg, Slicewise
from benchmarks import memory


class Asked(Slicewise):
    """It allows all slices, and notes how many entries it is asked to measure at a time."""

    def __init__(self, axis):
        self.axis, self.asked = axis, []

    def measure(self, block, axes, xp):
        self.asked.append(block.size)
        return xp.zeros([1 if i in axes else n for i, n in enumerate(block.shape)])

    def merge(self, a, b, xp):
        return a

    def excess(self, measure, xp):
        return measure

    def apply(self, block, measure, xp):
        return block


@pytest.mark.parametrize(
    ("dtype", "entries", "blocks"),
    [
        ("float32", 2**15, [2**15]),
        ("float32", 2**21, [2**21]),
        ("float64", 2**21, [2**21]),
        ("float32", 3 * 2**20, [2**18] * 12),  # a 16th would be less than 2**18
        ("float32", 2**23, [2**19] * 16),
        ("float32", 2**25, [2**20] * 32),  # a 16th would be more than 2**20
        ("float16", 2**17, [2**17]),
        ("bfloat16", 2**18, [2**16] * 4),  # a 64th would be less than 2**16
        ("float16", 2**23, [2**17] * 64),
    ],
)
def test_a_large_array_is_measured_block_by_block(dtype, entries, blocks):
    """Worked by hand, as entries_of_block says; no page of these zeros is read."""
    w = np.zeros(entries, DTYPES[dtype])
    constraint = Asked(0)
    assert constraint(w) is w
    assert constraint.asked == blocks
    constraint.violation(w)
    assert constraint.asked == 2 * blocks


@pytest.mark.parametrize(
    ("shape", "dtype", "blocks"),
    [
        ((2, 2**13), "float16", [2**14]),
        ((2, 2**14), "float16", [2**15]),
        ((2, 2**15), "float16", [2**13] * 8),  # no more slices than with 16 entries each
        ((64, 2**10), "float16", [2**16]),
        ((64, 2**13), "float32", [2**18] * 2),
    ],
)
def test_an_array_out_of_order_is_one_block_up_to_fewer_entries(shape, dtype, blocks):
    w = np.zeros(shape, dtype, order="F")
    constraint = Asked(0)
    assert constraint(w) is w
    assert constraint.asked == blocks


class Entries(Elementwise):
    """It allows all entries, and notes how many it is asked about at a time."""

    def __init__(self):
        self.asked = []

    def outside(self, w, xp):
        self.asked.append(w.size)
        return xp.zeros(w.shape, dtype=bool)

    def project(self, w, xp):
        return w

    def excess(self, w, xp):
        return xp.zeros_like(w)


@pytest.mark.parametrize(
    ("dtype", "entries", "copy", "blocks"),
    [
        ("float32", 2**19, None, [2**19]),
        ("float32", 2**21, None, [2**21]),
        ("float32", 2**22, None, [2**18] * 16),
        ("float32", 2**15, False, [2**15]),
        ("float32", 2**16, False, [2**12] * 16),
        ("float64", 2**14, False, [2**14]),
        ("float64", 2**15, False, [2**12] * 8),
        ("int8", 2**17, False, [2**17]),
        ("int8", 2**18, False, [2**12] * 64),
        ("float32", 2**20, False, [2**16] * 16),
        ("float32", 2**22, False, [2**17] * 32),
    ],
)
def test_a_form_on_entries_is_asked_about_blocks(dtype, entries, copy, blocks):
    """Worked by hand: one up to 2**21 entries; in place, pieces of more than 128 KiB."""
    w = np.zeros(entries, dtype)
    constraint = Entries()
    assert constraint(w, copy=copy) is w
    assert constraint.asked == blocks


class Written(Entries):
    """It has a way of its own to write into a weight, as NonNeg has."""

    def _project_in_place(self, w, outside, xp):
        raise AssertionError("nothing is outside")


@pytest.mark.parametrize(
    ("dtype", "entries", "blocks"),
    [
        ("float32", 2**21, [2**21]),
        ("float32", 2**22, [2**18] * 16),
        ("float16", 2**17, [2**17]),
        ("float16", 2**18, [2**16] * 4),
        ("int8", 2**20, [2**18] * 4),
        ("int8", 2**21, [2**18] * 8),
    ],
)
def test_a_form_that_writes_in_place_is_asked_for_masks_of_a_quarter(dtype, entries, blocks):
    w = np.zeros(entries, dtype)
    constraint = Written()
    assert constraint(w, copy=False) is w
    assert constraint.asked == blocks
    constraint.asked.clear()
    assert constraint(w) is w
    assert constraint.asked == ([2**18] * 16 if entries > 2**21 else [entries])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "float64"])
def test_entries_are_constrained_in_less_memory_than_they_take(dtype):
    """A mask has one byte for each entry, and so has an array of int8."""
    w = np.ones((512, 512), dtype)
    w[3:] = np.asarray(-1).astype(dtype)
    expected = NonNeg()(w)
    peak = memory.numpy_peak(lambda: NonNeg()(w, copy=False))
    assert peak < 0.9 * w.nbytes
    assert bits(w) == bits(expected)


def test_a_mask_of_a_large_array_is_made_block_by_block():
    w = np.ones(2**22, "float32")
    w[5] = -1
    assert memory.numpy_peak(lambda: NonNeg()(w, copy=False)) < 0.1 * w.nbytes
    assert w[5] == 0


@pytest.mark.parametrize("entries", [32, 256], ids=["short", "long"])
@pytest.mark.parametrize("moved", [0, 1], ids=["first", "last"])
@pytest.mark.parametrize("copy", [None, False])
def test_a_panel_that_is_kept_beside_one_that_changes_keeps_its_bits(entries, moved, copy):
    """Whether it is copied before or after that, or never; also a NaN that signals."""
    values = np.random.default_rng(entries + moved).standard_normal((2, 2**18), "float32")
    values[1 - moved] *= np.float32(0.001)
    values.view("uint32")[1 - moved, 7] = 0x7F800001
    w = values.reshape(-1, entries).T  # two panels of 2**18 entries
    before = values[1 - moved].tobytes()
    result = MaxNorm(0.5)(w, copy=copy)
    kept, changed = (np.split(result.T, 2)[i] for i in (1 - moved, moved))
    assert kept.tobytes() == before
    np.testing.assert_allclose(np.linalg.norm(changed, axis=1), 0.5, rtol=1e-5)


@pytest.mark.parametrize("at", [0, 2**20, 2**22 - 1])
def test_entries_that_are_kept_beside_one_that_changes_keep_their_bits(at):
    w = np.random.default_rng(at).integers(1, 127, 2**22, "int8")
    w[at] = -3
    result = NonNeg()(w)
    assert result[at] == 0
    assert (np.flatnonzero(result != w) == at).all()
