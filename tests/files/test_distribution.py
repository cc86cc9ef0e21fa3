"""How norms are distributed: counts in buckets, merged in any order."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from array_constraints.files import check_file, norms_of_file
from array_constraints.files.run.distribution import NOTHING, Distribution

numbers = st.lists(st.floats(0, 1e300), min_size=1, max_size=40)
FRACTIONS = [0.0, 0.25, 0.5, 0.75, 1.0]


@given(numbers)
def test_quantiles_are_those_of_the_numbers_to_a_thousandth(values):
    found = Distribution.of(np.asarray(values))
    assert found.count == len(values)
    expected = np.quantile(np.asarray(values) / 4, FRACTIONS) * 4  # no overflow within
    assert found.quantiles(FRACTIONS) == pytest.approx(expected, rel=1e-3, abs=1e-300)
    assert (found.least, found.largest) == (min(values), max(values))


@given(numbers, st.integers(0, 40))
def test_parts_add_up_to_the_whole(values, cut):
    parts = [Distribution.of(np.asarray(some)) for some in (values[:cut], values[cut:])]
    for first, second in itertools.permutations(parts):
        assert first + second == Distribution.of(np.asarray(values))
    assert parts[0] + NOTHING == parts[0]


def test_a_sparkline_has_the_height_of_the_counts():
    found = Distribution.of(np.asarray([1.0] * 8 + [2.0] * 4 + [5.0]))
    line = found.sparkline(4)
    assert len(line) == 4
    assert line[0] > line[1] > line[3] > line[2]
    assert Distribution.of(np.asarray([3.0])).sparkline() == "█"
    assert NOTHING.sparkline() == ""


def test_nan_and_infinity_hide_no_largest_finite_norm(tmp_path):
    w = np.asarray([[3.0, np.nan, np.inf, 0.0], [4.0, 1.0, 2.0, 0.5]])
    np.save(tmp_path / "w.npy", w)
    summary = norms_of_file(tmp_path / "w.npy", axis=0).tensors[0].before
    assert (summary.slices, summary.nan, summary.infinite) == (4, 1, 1)
    assert summary.distribution.count == 2
    assert (summary.distribution.least, summary.distribution.largest) == (0.5, 5.0)
    from array_constraints import MaxNorm

    found = check_file(tmp_path / "w.npy", MaxNorm(1.0), slices=9).tensors[0].before
    assert (found.violating, found.largest, found.nan, found.infinite) == (3, 4.0, 1, 1)
    shown = {one.shown: one.violation for one in found.worst}
    assert list(shown)[2] == "[:, 0]"
    assert shown["[:, 0]"] == 4.0
    assert np.isnan(shown["[:, 1]"])
    assert shown["[:, 2]"] == np.inf


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("chunk_size", [2**16, 2**20])
def test_the_worst_slices_are_those_of_the_whole_whatever_the_chunks(
    axis, chunk_size, tmp_path
):
    from array_constraints import MaxNorm

    w = np.random.default_rng(0).standard_normal((300, 200))
    np.save(tmp_path / "w.npy", w)
    constraint = MaxNorm(1.0, axis=axis)
    violation = np.ravel(constraint.violation(w))
    (tensor,) = check_file(
        tmp_path / "w.npy", constraint, slices=3, chunk_size=chunk_size
    ).tensors
    worst = sorted(violation)[::-1][:3]
    assert [one.violation for one in tensor.before.worst] == pytest.approx(worst)
    place = {0: (None, 1), 1: (1, None), None: (None, None)}[axis]
    for one in tensor.before.worst:
        assert [at is None for at in one.at] == [at is None for at in place]
        where = tuple(slice(None) if at is None else at for at in one.at)
        assert np.linalg.norm(w[where]) - 1.0 == pytest.approx(one.violation)
