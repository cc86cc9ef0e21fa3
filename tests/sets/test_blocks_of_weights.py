"""Blocks of a fused weight, each constrained as it would be apart."""

from __future__ import annotations

import numpy as np
import pytest
from libraries import LIBRARIES

from array_constraints import (
    Blocks,
    Chain,
    Halfspace,
    MaxNorm,
    Mean,
    NMSparse,
    NonNeg,
    Relaxed,
    Sphere,
    Standardized,
    Triangular,
    UnitNorm,
)

INNER = [
    MaxNorm(1.0),
    MaxNorm(1.0, axis=-1),
    MaxNorm((1.0, 0.5, 0.25, 2.0, 0.1, 3.0)),
    Sphere(1.0, axis=(0, 1)),
    UnitNorm(axis=None),
    Mean(axis=1),
    Standardized(),
    Halfspace((1.0, 2.0, -1.0, 0.5)),
    NonNeg(),
    NMSparse(1, 2, axis=0),
    Triangular(),
    Relaxed(MaxNorm(1.0), 0.5),
    Chain([NonNeg(), UnitNorm(axis=(0, 1))]),
    Chain([Triangular(), MaxNorm((1.0, 0.5, 0.25, 2.0, 0.1, 3.0))]),
    Blocks(Sphere(1.0, axis=None), size=2),
]


@pytest.fixture
def w() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((12, 6)).astype("float32")


@pytest.mark.parametrize("given", [{"size": 4}, {"sizes": (4, 4, 4)}], ids=["size", "sizes"])
@pytest.mark.parametrize("inner", INNER, ids=str)
class TestEachBlock:
    def test_becomes_what_it_would_be_apart(self, inner, given, w):
        blocks = Blocks(inner, **given)
        expected = np.concatenate([inner(part) for part in np.split(w, 3)])
        np.testing.assert_array_equal(blocks(w), expected)
        in_place = w.copy()
        assert blocks(in_place, copy=False) is in_place
        np.testing.assert_array_equal(in_place, expected)

    def test_has_its_own_violation(self, inner, given, w):
        expected = np.concatenate([inner.violation(part) for part in np.split(w, 3)])
        np.testing.assert_array_equal(Blocks(inner, **given).violation(w), expected)

    def test_is_written_through_a_view_of_another_order(self, inner, given, w):
        blocks, wide = Blocks(inner, **given), np.full((12, 12), 7, "float32", order="F")
        view = wide[:, ::2]
        view[...] = w
        blocks(view, copy=False)
        np.testing.assert_allclose(view, blocks(w), rtol=1e-6, atol=1e-7)
        assert (wide[:, 1::2] == 7).all()


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_library_has_the_same_blocks(library, w):
    for blocks in (
        Blocks(Sphere(1.0, axis=(0, 1)), size=3),
        Blocks(Mean(axis=1), axis=1, sizes=(1, 2, 3)),
    ):
        with library.active():
            result = library.numpy(blocks(library.array(w)))
        np.testing.assert_allclose(result, blocks(w), rtol=1e-6, atol=1e-7)


def test_blocks_of_several_lengths_follow_each_other(w):
    found = Blocks(UnitNorm(), axis=-2, sizes=(2, 3, 7))(w)
    norms = [np.linalg.norm(part, axis=0) for part in np.split(found, (2, 5))]
    np.testing.assert_allclose(norms, 1, rtol=1e-6)


def test_heads_have_a_norm_each_and_the_fused_matrix_has_not(w):
    heads = Blocks(Sphere(1.0, axis=(0, 1)), size=4)
    norms = np.linalg.norm(np.asarray(heads(w)).reshape(3, -1), axis=1)
    np.testing.assert_allclose(norms, 1, rtol=1e-6)
    assert np.linalg.norm(Sphere(1.0, axis=(0, 1))(w)) == pytest.approx(1)


def test_nothing_is_made_where_all_blocks_keep(w):
    w *= np.float32(0.01)
    for given in ({"size": 4}, {"sizes": (4, 8)}):
        assert Blocks(MaxNorm(1.0), **given)(w) is w


def test_of_dimensions_that_blocks_do_not_follow_a_region_has_those_of_the_constraint():
    blocks = Blocks(Sphere(1.0, axis=(0, 2)), size=4)
    assert (blocks.whole(3), blocks.groups(3)) == ((2,), (4, 1, 1))
    several = Blocks(Sphere(1.0, axis=1), sizes=(4, 5))
    assert (several.whole(3), several.groups(3)) == ((0, 1), (1, 1, 1))
    grouped = Blocks(NMSparse(2, 4, axis=1), size=3)
    assert (grouped.whole(2), grouped.groups(2)) == ((), (3, 4))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({}, ValueError, "exactly one of size and sizes, got None and None"),
        ({"size": 2, "sizes": (1, 1)}, ValueError, "exactly one"),
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"size": 2.0}, TypeError, "size must be an int"),
        ({"sizes": 3}, TypeError, "sizes must be a list of ints, got 3"),
        ({"sizes": []}, TypeError, "sizes must be a list of ints"),
        ({"sizes": [1, -1]}, ValueError, r"sizes\[1\] must be at least 1"),
        ({"size": 2, "axis": "rows"}, TypeError, "axis must be an int"),
    ],
    ids=str,
)
def test_wrong_arguments_are_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        Blocks(MaxNorm(), **arguments)


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        (Blocks(MaxNorm(), size=5), "size 5 does not divide 12"),
        (Blocks(MaxNorm(), sizes=(5, 6)), "sizes .5, 6. are 11 together"),
        (Blocks(MaxNorm(), axis=2, size=1), "axis 2 does not fit"),
        (Blocks(MaxNorm(axis=2), size=4), "axis 2 does not fit"),
        (Blocks(NMSparse(2, 4, axis=0), size=6), "4"),
        (Blocks(MaxNorm((1.0, 2.0)), size=4), "max_value has 2 entries"),
        (Blocks(MaxNorm(axis="incoming"), size=4), "axis='incoming'"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_before_anything_is_written(blocks, said, w):
    before = w.copy()
    for copy in (None, False):
        with pytest.raises(ValueError, match=said):
            blocks(w, copy=copy)
    np.testing.assert_array_equal(w, before)


def test_a_slice_with_nan_touches_no_other_block():
    w = np.full((4, 1), 3.0)
    w[0] = np.nan
    found = Blocks(UnitNorm(), size=2)(w)
    np.testing.assert_allclose(found[2:], np.sqrt(0.5))
    np.testing.assert_array_equal(found[:2], w[:2])
    np.testing.assert_array_equal(Blocks(UnitNorm(), size=2)(w[:0]), w[:0])
