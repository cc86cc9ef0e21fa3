"""The search for thresholds, as a whole and in rounds, beside its exact answer."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libraries import ALL, DTYPES, ROUNDOFF
from slices_to_threshold import (
    FAMILIES,
    TOTALS,
    exact_projection,
    exact_sum,
    slice_of,
    slices,
)

from array_constraints.libraries import of
from array_constraints.libraries.thresholds.expression import Thresholds
from array_constraints.numerics import brackets, masses, thresholds
from array_constraints.numerics.masses import Target


class TestTheOracle:
    def test_is_the_nearest_of_many_points_of_the_simplex(self):
        rng = np.random.default_rng(0)
        for _ in range(50):
            values = rng.standard_normal(4)
            nearest = np.asarray([float(x) for x in exact_projection(values, 1.0)])
            others = rng.dirichlet(np.ones(4), 200)
            assert exact_sum(nearest) == pytest.approx(1)
            distances = np.sum((others - values) ** 2, axis=1)
            assert np.sum((nearest - values) ** 2) <= distances.min()

    def test_by_hand(self):
        assert exact_projection(np.asarray([2.0, 1.0, -1.0]), 2.0) == [
            Fraction(3, 2),
            Fraction(1, 2),
            0,
        ]


def plain(dtype: str) -> Thresholds:
    """The one expression in functions of the standard, which lazy arrays take."""
    return Thresholds(of(np.ones(1, dtype=DTYPES[dtype])))


def distance(found: np.ndarray, exact: list[Fraction]) -> Fraction:
    """The largest error of an entry."""
    entries = found.astype(np.float64).tolist()
    return max(abs(Fraction(x) - y) for x, y in zip(entries, exact, strict=True))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("total", TOTALS)
class TestOneExpression:
    def test_is_nearest_and_sums_to_the_total(self, dtype, total):
        u = Fraction(ROUNDOFF[dtype])

        @given(slices(dtype, (1, 2, 3, 17, 100)), st.booleans())
        def holds(values, at_hand):
            if total < values.size * 2.0**-14 and dtype == "float16":
                return
            how = of(values).thresholds if at_hand else plain(dtype)
            with np.errstate(all="ignore"):
                found = how.projected(values, (0,), Target(total, ball=False))
            assert (found >= 0).all()
            roundoffs = 3 if dtype == "float64" else 1 + Fraction(2) ** -14
            s = Fraction(total)
            assert abs(exact_sum(found) - s) <= roundoffs * u * s
            # An offset is rounded to the accumulator, and an entry to the weight's dtype.
            most = u * s * 3 + Fraction(2) ** -52 * s * values.size
            assert distance(found, exact_projection(values, total)) <= most or not found.any()

        holds()


class TestSorting:
    def test_starts_left_of_the_root(self):
        for family in FAMILIES:
            w = slice_of(family, 1000, "float64")
            how = plain("float64")
            mass = how.mass(w, (0,), False)
            found, _ = thresholds.search(mass, Target(1.0, ball=False), (0,), how)
            z = found.offsets(w)
            start = thresholds.by_sorting(found, z, how.xp)
            _, f, count = found.step(z, start)
            assert f >= -1e-12
            assert f <= 1e-9
            assert count >= 1


def in_rounds(values: np.ndarray, target: Target, parts: int) -> tuple[np.ndarray, int]:
    """Return a slice projected in parts as on file, and how often it was read."""
    how = of(values).thresholds
    blocks = np.array_split(values, min(parts, values.size))
    merge = functools.partial(masses.merge, xp=how.xp)
    mass = functools.reduce(merge, [how.mass(b, (0,), target.ball) for b in blocks])
    bracket, reads = brackets.started(mass, target, how), 1
    while bracket.open.any():
        above = [brackets.above(b, bracket, (0,), how) for b in blocks]
        merged = functools.reduce(brackets.merge, above)
        bracket, reads = brackets.narrowed(bracket, merged, how.xp), reads + 1
    found = [brackets.applied(b, bracket, (0,), how) for b in blocks]
    return np.concatenate(found), reads + 1


@pytest.mark.parametrize("ball", [False, True], ids=["simplex", "ball"])
class TestRounds:
    @pytest.mark.parametrize(
        ("dtype", "n"),
        [("float32", 10**4), ("float32", 10**6), ("float64", 10**4), ("bfloat16", 10**3)],
    )
    @np.errstate(all="ignore")
    def test_are_few_and_end_at_the_total(self, dtype, n, ball):
        counts, u = [], ROUNDOFF[dtype]
        for family in FAMILIES:
            values = slice_of(family, n, dtype)
            for total in TOTALS:
                found, reads = in_rounds(values, Target(total, ball), 7)
                off = math.fsum(np.abs(found.astype(np.float64))) / total - 1
                if ball and math.fsum(np.abs(values.astype(np.float64))) <= total:
                    assert found.tobytes() == values.tobytes()
                    continue
                if not ball:
                    assert abs(off) <= (3 if dtype == "float64" else 1.001) * u, family
                else:
                    assert -(6 if dtype == "float64" else 2.001) * u <= off <= 0, family
                counts.append(reads)
        assert max(counts) <= 7
        assert np.mean(counts) <= (4 if n <= 10**4 else 4.5)

    @np.errstate(all="ignore")
    def test_are_few_where_entries_are_beyond_the_total(self, ball):
        """The mean of such entries is off by more than the total."""
        large = 2.8061589648569886e203
        for values in (np.full(2731, large), large * (1 + 2.0**-50 * np.arange(300) % 3)):
            for parts in (1, 3):
                found, reads = in_rounds(values, Target(0.7, ball), parts)
                assert reads <= 6
                assert math.fsum(found) == pytest.approx(0.7, rel=6 * 2.0**-53)

    @np.errstate(all="ignore")
    def test_end_where_the_whole_slice_does(self, ball):
        for family in FAMILIES:
            values = slice_of(family, 1000, "float32")
            for total in TOTALS:
                target = Target(total, ball)
                found, _ = in_rounds(values, target, 5)
                whole = plain("float32").projected(values, (0,), target)
                assert np.abs(found - whole).max() <= 2 * ROUNDOFF["float32"] * total

    @np.errstate(all="ignore")
    def test_measures_of_blocks_add_up(self, ball):
        values = slice_of("normal", 1000, "float64")
        how, target = of(values).thresholds, Target(1.0, ball)
        bracket = brackets.started(how.mass(values, (0,), ball), target, how)
        whole = brackets.above(values, bracket, (0,), how)
        parts = [brackets.above(b, bracket, (0,), how) for b in np.split(values, [10, 700])]
        merged = functools.reduce(brackets.merge, parts)
        np.testing.assert_array_equal(merged.counts, whole.counts)
        np.testing.assert_allclose(merged.sums, whole.sums, rtol=1e-15)

    @np.errstate(all="ignore")
    def test_a_slice_that_is_done_stays_while_others_go_on(self, ball):
        both = np.stack([slice_of(name, 4096, "float32") for name in ("equal", "uniform")])
        target = Target(1.0, ball)
        how = of(both).thresholds
        bracket, states = brackets.started(how.mass(both, (1,), ball), target, how), []
        while bracket.open.any():
            above = brackets.above(both, bracket, (1,), how)
            bracket = brackets.narrowed(bracket, above, how.xp)
            states.append((bool(bracket.open[0, 0]), bracket.origin[0, 0], bracket.left[0, 0]))
        done = [state for state in states if not state[0]]
        assert len(set(done)) == 1
        assert len(done) > 1
