"""In place: less than the weight is allocated, and the bits are those of a new array."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libraries import DTYPES, NUMPY, TORCH, bits, installed
from test_forms import L1Ball

from array_constraints import Elementwise, MaxNorm, NonNeg, Slicewise, reductions
from array_constraints.libraries.strided import overlapping
from benchmarks import memory

BOTH = [library for library in (NUMPY, TORCH) if installed(library)]
PEAK = {NUMPY: memory.numpy_peak, TORCH: memory.torch_peak}


class Mean(Slicewise):
    """Shift what has a mean above zero."""

    axis = 0

    def measure(self, block, axes, xp):
        return reductions.sum(block, axes, xp)

    def merge(self, a, b, xp):
        return a + b

    def excess(self, measure, xp):
        return xp.maximum(measure, xp.zeros_like(measure))

    def apply(self, block, measure, xp):
        return xp.astype(xp.astype(block, measure.dtype) - measure, block.dtype)


class AtLeast(Elementwise):
    """Lift entries to 0.25; which are below is found out from their excess."""

    def project(self, w, xp):
        return xp.where(w < 0.25, xp.full_like(w, 0.25), w)

    def excess(self, w, xp):
        return xp.where(w < 0.25, 0.25 - w, xp.zeros_like(w))


HALF = ("float16", "bfloat16")
CONSTRAINTS = {
    "product": MaxNorm(0.5),
    "product, short axis": MaxNorm(0.5, axis=1),
    "radii": MaxNorm(tuple(np.linspace(0.4, 0.5, 1024).tolist()), axis=1),
    "more than a product": MaxNorm(1e-25),
    "magnitudes": L1Ball(0.5),
    "mean": Mean(),
    "entries": NonNeg(),
    "entries of a form of one's own": AtLeast(),
}
MORE = {(half, "more than a product") for half in HALF}
"""Half types are widened twice where a factor leaves their range: 1.2 times the weight."""


CASES = [
    (dtype, entries)
    for dtype in (*HALF, "float32", "float64")
    for entries in (2**16, 2**18, 2**20, 2**22)
    if entries >= 2**18 or dtype not in HALF  # the piece that is widened takes 128 KiB
]


@pytest.mark.parametrize("library", BOTH, ids=str)
@pytest.mark.parametrize("name", CONSTRAINTS)
@pytest.mark.parametrize(("dtype", "entries"), CASES)
def test_less_than_the_weight_is_allocated(library, name, dtype, entries):
    values = np.random.default_rng(0).standard_normal((1024, entries // 1024))
    check(library, CONSTRAINTS[name], values.astype(DTYPES[dtype]), (dtype, name) in MORE)


@pytest.mark.parametrize("shape", [(256, 256), (64, 1024), (800, 256)], ids=str)
def test_less_than_a_weight_of_many_columns_is_allocated(shape):
    check(TORCH, MaxNorm(0.5), np.random.default_rng(0).standard_normal(shape, "float32"))


@pytest.mark.parametrize("library", BOTH, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, np.nan, 1e30])
def test_one_extreme_slice_widens_few_others(library, dtype, value):
    """A unit that is dead, or has diverged."""
    values = np.random.default_rng(0).standard_normal((1024, 512)).astype(DTYPES[dtype])
    with np.errstate(over="ignore"):
        values[:, 7] = values[3] = value
    for axis in (0, 1):
        check(library, MaxNorm(0.5, axis), values, more=True)


@pytest.mark.parametrize("library", BOTH, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_shapes_have_the_bits_of_a_new_array(library, dtype):
    for shape, axis in (
        ((37, 911), 0),
        ((7, 70001), 0),
        ((7, 70001), 1),
        ((127, 131, 17), (0, 1)),
        ((127, 131, 17), (0, 2)),
        ((512, 600), ()),
    ):
        values = np.random.default_rng(0).standard_normal(shape).astype(DTYPES[dtype])
        check(library, MaxNorm(0.5, axis), values, peak=False)


class Noted(Mean):
    """It notes how many entries it is asked to change at a time."""

    def __init__(self, axis):
        self.axis, self.asked = axis, []

    def apply(self, block, measure, xp):
        self.asked.append(block.size)
        return super().apply(block, measure, xp)


@pytest.mark.parametrize(
    ("shape", "axis", "dtype", "copy", "pieces"),
    [
        ((1024, 1024), 0, "float32", False, [2**17] * 8),  # a 32nd of the bytes
        ((2048, 512), 0, "float16", False, [2**16] * 16),
        ((1024, 8), 0, "float32", False, [2**13]),  # at least 2**13 entries
        ((16, 1024), 0, "float32", False, [2**13] * 2),
        ((1, 2**14), None, "float32", False, [2**13] * 2),  # along the first that can be cut
        ((2**14, 2), None, "float32", False, [2**13] * 4),
        (
            (2, 2**15),
            0,
            "float32",
            False,
            [2**15] * 2,
        ),  # each has one entry of a slice at least
        ((2**15, 1), 1, "float32", False, [2**15]),  # slices of one entry are not cut
        ((4096, 512), 0, "float64", False, [2**18] * 8),  # at most 2**18 entries
        ((2048, 256), 0, "float32", None, [2**18] * 2),
        ((1024, 256), 0, "float32", None, [2**18]),
    ],
)
def test_a_form_is_asked_for_pieces(shape, axis, dtype, copy, pieces):
    """Worked by hand: see what in place means in the decisions, 19 and 21."""
    constraint = Noted(axis)
    constraint(np.ones(shape, dtype), copy=copy)
    assert constraint.asked == pieces


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("unit", [1.0, 2.0**60], ids=["near", "far"])
def test_a_product_is_written_without_pieces(axis, unit):
    """What is held is what the sums take; also where slices are far above their bound."""
    w = (unit * np.random.default_rng(0).standard_normal((1024, 128))).astype("float32")
    constraint = MaxNorm(0.5, axis)
    constraint(w)  # what the first call imports and keeps is not counted
    peak = memory.numpy_peak(lambda: constraint(w, copy=False))
    assert peak < 0.5 * w.nbytes


def check(library, constraint, values, more=False, peak=True):
    expected = constraint(library.array(values))
    place = library.array(values.copy())
    call = functools.partial(constraint, place, copy=False)
    if peak:
        assert PEAK[library](call) < (1.25 if more else 0.9) * values.nbytes
    else:
        call()
    assert bits(library.numpy(place)) == bits(library.numpy(expected))


@given(
    dimensions=st.lists(st.tuples(st.integers(0, 4), st.integers(-13, 13)), max_size=3),
    unit=st.sampled_from([1, 2]),
)
def test_entries_that_share_memory_are_found(dimensions, unit):
    """Never missed; and not seen where there is none, or only one along a dimension."""
    steps = [(n, stride * unit) for n, stride in dimensions]
    shape, strides = [n for n, _ in steps], [stride for _, stride in steps]
    places = [sum(map(operator.mul, at, strides)) for at in np.ndindex(*shape)]
    found = overlapping(tuple(shape), tuple(strides), unit)
    if len(set(places)) < len(places):
        assert found == "an expanded array, whose entries share memory"
    if not places:
        assert found is None
    longer = overlapping((*shape, 1), (*strides, 0), unit)
    assert longer == found


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 1, 4), (2, 3, 4)], ids=str)
def test_entries_of_an_array_on_its_own_share_no_memory(shape, order):
    w = np.zeros(shape, order=order)
    for view in (w, w[::-1] if w.ndim else w, w[..., ::2] if w.ndim else w):
        assert overlapping(view.shape, view.strides, view.itemsize) is None
