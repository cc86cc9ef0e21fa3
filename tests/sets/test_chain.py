"""Chains of constraints: in order, aimed at the intersection, and told by their violation."""

from __future__ import annotations

import numpy as np
import pytest

from array_constraints import (
    Blocks,
    Chain,
    Constraint,
    MaxNorm,
    Mean,
    NonNeg,
    Sphere,
    Triangular,
    UnitNorm,
)


@pytest.fixture
def w() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, 4)).astype("float32")


def test_members_are_applied_in_their_order(w):
    right = np.asarray(UnitNorm()(NonNeg()(w)))
    np.testing.assert_array_equal(Chain([NonNeg(), UnitNorm()])(w), right)
    assert (Chain([UnitNorm(), NonNeg()])(w) != right).any()


@pytest.mark.parametrize(
    ("members", "holds"),
    [
        ([MaxNorm(1.0), NonNeg()], True),
        ([NonNeg(), MaxNorm(1.0)], True),
        ([NonNeg(), UnitNorm()], True),
        ([UnitNorm(), NonNeg()], False),
        ([Triangular(), Mean()], False),
    ],
    ids=str,
)
def test_the_violation_of_the_result_says_whether_all_members_hold(members, holds, w):
    chain = Chain(members)
    left = np.asarray(chain.violation(chain(w)))
    each = [np.max(one.violation(chain(w))) <= 1e-6 for one in members]
    assert all(each) == holds
    assert (left.max() <= 1e-6) == holds


def test_the_violation_is_the_largest_of_the_members_broadcast_together(w):
    rows, entries = UnitNorm(axis=1), NonNeg()
    expected = np.maximum(rows.violation(w), entries.violation(w))
    np.testing.assert_array_equal(Chain([rows, entries]).violation(w), expected)
    assert Chain([rows, UnitNorm(axis=0)]).violation(w).shape == w.shape
    assert Chain([rows, MaxNorm(1.0, axis=1)]).violation(w).shape == (6, 1)


def test_a_violation_for_each_block_is_spread_over_its_entries(w):
    two, three = (Blocks(Sphere(1.0, axis=None), size=n) for n in (2, 3))
    found = np.asarray(Chain([two, three]).violation(w))
    spread = [np.repeat(one.violation(w), n, axis=0) for one, n in ((two, 2), (three, 3))]
    np.testing.assert_array_equal(found, np.broadcast_to(np.maximum(*spread), w.shape))
    uneven = Chain([Blocks(Sphere(1.0, axis=None), sizes=(1, 5)), NonNeg()])
    expected = np.repeat(uneven.constraints[0].violation(w), (1, 5), axis=0)
    np.testing.assert_array_equal(
        uneven.violation(w), np.maximum(expected, NonNeg().violation(w))
    )


def test_what_all_members_keep_comes_back_bit_for_bit():
    w = np.asarray([[0.5, 3.0], [0.0, 4.0], [-0.0, -1.0]])
    chain = Chain([NonNeg(), MaxNorm(1.0)])
    result = chain(w)
    assert result[:, 0].tobytes() == w[:, 0].tobytes()
    np.testing.assert_allclose(result[:, 1], [0.6, 0.8, 0.0])
    assert chain(result) is result


def test_in_place_each_member_writes(w):
    chain, view = Chain([NonNeg(), MaxNorm(0.5, axis=1)]), np.zeros((6, 8), "float32")[:, ::2]
    view[...] = w
    assert chain(view, copy=False) is view
    np.testing.assert_allclose(view, chain(w), rtol=1e-6)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="cannot write"):
        chain(w, copy=False)


def test_nan_and_infinity_are_treated_as_by_the_members():
    w = np.asarray([[np.nan, np.inf, 3.0], [1.0, 1.0, 4.0]])
    chain = Chain([NonNeg(), UnitNorm()])
    np.testing.assert_array_equal(chain(w)[:, :2], w[:, :2])
    assert np.isnan(chain.violation(w)[0, 0])
    assert np.isinf(chain.violation(w)[0, 1])


def test_a_member_written_as_in_keras_is_called_on_the_whole(w):
    class Halve(Constraint):
        def __call__(self, w):
            return w / 2

    chain = Chain([Halve(), NonNeg()])
    np.testing.assert_array_equal(chain(w), np.maximum(w / 2, 0))
    assert chain.violation(w).shape == w.shape
    in_place = w.copy()
    chain(in_place, copy=False)
    np.testing.assert_array_equal(in_place, np.maximum(w / 2, 0))


def test_it_looks_at_what_its_members_look_at():
    chain = Chain([UnitNorm(axis=-1), MaxNorm(axis=0), Blocks(NonNeg(), axis=1, size=4)])
    assert chain.whole(3) == (0, 2)
    assert chain.groups(3) == (1, 4, 1)
    assert Chain([NonNeg(), Triangular()]).whole(2) == ()
    grouped = Chain([Blocks(NonNeg(), size=4), Blocks(NonNeg(), size=6)])
    assert grouped.groups(2) == (12, 1)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([], ValueError, "at least one"),
        (MaxNorm(), TypeError, "list of them, got MaxNorm"),
        ([NonNeg(), abs], TypeError, r"constraints\[1\] must be a Constraint"),
        (["no such"], ValueError, "unknown constraint"),
    ],
    ids=str,
)
def test_what_is_no_chain_is_refused(given, error, said):
    with pytest.raises(error, match=said):
        Chain(given)


def test_members_judge_the_weight_before_anything_is_written():
    w = -np.ones((2, 2))
    with pytest.raises(ValueError, match="axis 2 does not fit"):
        Chain([NonNeg(), MaxNorm(axis=2)])(w, copy=False)
    assert (w == -1).all()
    with pytest.raises(TypeError, match="real floating"):
        Chain([NonNeg(), MaxNorm()])(np.ones(3, dtype="int32"))
    integers = Chain([NonNeg(), Triangular()])(-np.ones((2, 2), dtype="int8"))
    assert integers.dtype == "int8"
