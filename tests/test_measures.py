"""The measures of any split of a slice merge to the whole's, in any order."""

from __future__ import annotations

import itertools
import math
import shutil
from fractions import Fraction

import numpy as np
import pytest
from exact import relative_excess, square_norm
from hypothesis import given
from hypothesis import strategies as st
from libraries import DTYPES, LIBRARIES_AND_DTYPES, NUMPY, ROUNDOFF, TORCH, bits
from test_forms import form_between

from array_constraints import MaxNorm, MinMaxNorm, NormConstraint, UnitNorm
from array_constraints.executors.acceptance import accepted
from array_constraints.numerics.formats import FORMATS, Precision
from array_constraints.numerics.sums import power_of_two
from benchmarks import pages

LENGTHS = (1, 2, 8, 33)


@st.composite
def cuts(draw: st.DrawFn):
    """A length and where it is cut; few of each, because JAX compiles for each shape."""
    n = draw(st.sampled_from(LENGTHS))
    inside = st.sampled_from([0, n // 4, n // 2, n - 1, n])
    return n, [0, *sorted(draw(st.lists(inside, max_size=6))), n]


@pytest.mark.parametrize(
    ("library", "dtype"), LIBRARIES_AND_DTYPES, ids=lambda value: str(value)
)
@given(cut=cuts(), seed=st.integers(0, 2**32 - 1), order=st.randoms(use_true_random=False))
def test_the_measures_of_any_split_merge_to_the_whole(library, dtype, cut, seed, order):
    """Each part has a magnitude of its own, about those at which the scale changes."""
    n, edges = cut
    near = {"float16": (0, 7, 14), "float64": (0, 200, 600)}.get(dtype, (0, 25, 75))
    rng = np.random.default_rng(seed)
    w = rng.uniform(0.5, 1.9, (n, 2))
    for a, b in itertools.pairwise(edges):
        exponent = rng.choice(near) * rng.choice([-1, 1]) + rng.integers(-2, 2)
        w[a:b] *= 2.0 ** min(exponent, near[-1])
    w = w.astype(DTYPES[dtype])
    c = MaxNorm(2)
    with library.active():
        x, found = accepted("test", library.array(w))
        xp = found.xp
        parts = [c.measure(x[a:b, :], (0,), xp) for a, b in itertools.pairwise(edges)]
        while len(parts) > 1:  # any order, any tree
            order.shuffle(parts)
            parts.append(c.merge(parts.pop(), parts.pop(), xp))
        whole = c.measure(x, (0,), xp)
        assert parts[0].entries == whole.entries == n
        accumulator = str(whole.value.dtype).rpartition(".")[2]
        totals = [values(measure, library) for measure in (parts[0], whole)]
        roundoffs = math.ceil(math.log2(n)) + 2
        if accumulator != dtype:  # digits to spare: terms are added in any order
            roundoffs = max(n, roundoffs)
        for column in range(2):
            exact = square_norm(w[:, column])
            sums = [total[column] for total in totals]
            bound = roundoffs * Fraction(ROUNDOFF[accumulator])
            for total in sums:
                assert abs(total - exact) <= bound * exact
            assert abs(sums[0] - sums[1]) <= bound * exact


def values(measure, library) -> list[Fraction]:
    """Return the exact value of each slice's measure: what its three parts stand for."""
    parts = (measure.value, measure.scale, measure.rounding_error)
    known = [part for part in parts if part is not None]
    arrays = iter(library.values(*known))
    value, scale, carry = (None if part is None else next(arrays).ravel() for part in parts)
    return [
        (Fraction(float(v)) + (0 if carry is None else Fraction(float(carry[i]))))
        / (1 if scale is None else Fraction(float(scale[i]))) ** 2
        for i, v in enumerate(value.ravel())
    ]


@pytest.mark.parametrize(("accumulator", "step"), [("float32", 50), ("float64", 400)])
def test_entries_are_scaled_by_steps_of_a_power_of_two(accumulator, step):
    """Five of them, from peaks of 2**-1.5 step to those of 2**1.5 step: worked by hand."""
    half = step // 2
    scales = {
        -2 * step: 2 * step,
        -3 * half - 1: 2 * step,
        -3 * half: step,
        -half - 1: step,
        -half: 0,
        0: 0,
        half - 1: 0,
        half: -step,
        3 * half - 1: -step,
        3 * half: -2 * step,
        2 * step: -2 * step,
    }
    peaks = np.asarray([2.0**e for e in scales] + [0, np.inf, np.nan], dtype=accumulator)
    precision = Precision(FORMATS[accumulator], FORMATS[accumulator])
    _, found = accepted("test", peaks)
    xp = found.xp
    expected = (
        [2.0**e for e in scales.values()] + [2.0 ** (2 * step)] + 2 * [2.0 ** (-2 * step)]
    )
    np.testing.assert_array_equal(power_of_two(peaks, precision, xp), expected)


def test_merging_one_entry_at_a_time_loses_nothing():
    """A chain of merges, the worst order for roundoff, stays as exact as the tree."""
    w = np.full((3000, 1), 0.7)
    c = MaxNorm(1)
    x, found = accepted("test", w)
    xp = found.xp
    measure = one = c.measure(x[:1, :], (0,), xp)
    for _ in range(1, 3000):
        measure = c.merge(measure, one, xp)
    merged = Fraction(float(measure.value[0, 0])) + Fraction(
        float(measure.rounding_error[0, 0])
    )
    exact = square_norm(w)
    assert abs(merged - exact) <= 2 * Fraction(2.0**-53) * exact
    norm = 1 + c.excess(measure, xp)[0, 0]
    assert abs(norm - math.sqrt(exact)) <= 4 * 2.0**-53 * norm
    projected = c.apply(x, measure, xp)
    assert -30 * 2.0**-53 <= relative_excess(projected, 1) <= 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_merging_keeps_nan_and_infinity_without_a_warning(library, value, dtype):
    if dtype not in library.dtypes:
        pytest.skip(f"{library} has no {dtype}")
    w = np.asarray([[1.0, value], [value, 3.0], [2.0, 2.0]], dtype=dtype)
    c = MaxNorm(1)
    x, found = accepted("test", library.array(w))
    xp = found.xp
    measure = c.merge(c.measure(x[:2, :], (0,), xp), c.measure(x[2:, :], (0,), xp), xp)
    violation = library.numpy(c.excess(measure, xp))
    assert (np.isnan(violation) if np.isnan(value) else np.isposinf(violation)).all()
    assert bits(library.numpy(c.apply(x, measure, xp))) == bits(w)


@pytest.mark.parametrize(
    "constraint", [MaxNorm(1.0), UnitNorm(), MinMaxNorm(0.5, 1.0)], ids=repr
)
def test_blocks_with_a_merged_measure_give_the_whole_result(library, constraint):
    w = np.random.default_rng(5).standard_normal((12, 3)).astype("float32")
    x, found = accepted("test", library.array(w))
    xp = found.xp
    blocks = [x[:5, :], x[5:6, :], x[6:, :]]
    a, b, c = (constraint.measure(block, (0,), xp) for block in blocks)
    measure = constraint.merge(a, constraint.merge(b, c, xp), xp)
    pieces = [library.numpy(constraint.apply(block, measure, xp)) for block in blocks]
    whole = library.numpy(constraint(x))
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=4e-6)


AT_HAND = pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)


@AT_HAND
@pytest.mark.parametrize("each", [False, True], ids=["one bound", "bounds for each slice"])
@pytest.mark.parametrize(
    ("lower", "upper", "size"),
    [
        (0, 1.1 * 2.0**-40, 1.3 * 2.0**100),
        (0, 2.0**-60, 2.0**70),
        (0, 2.0**-100, 2.0**70),
        (2.0**39, 2.0**40, 2.0**-100),
        (2.0**60, 2.0**61, 2.0**-75),
    ],
)
def test_a_factor_may_be_out_of_the_range_of_float32(library, each, lower, upper, size):
    """A slice far away from its bound, beside an ordinary one."""
    values = np.asarray([[0.6 * size, 1.2], [0.8 * size, 1.6]], "float32")
    bounds = [(bound, 2.0) if each and bound else bound for bound in (lower, upper)]
    with library.active():
        result = library.numpy(form_between(*bounds)(library.array(values)))
    expected = np.asarray([0.6, 0.8]) * (lower or upper)
    np.testing.assert_allclose(result[:, 0], expected, rtol=1e-6)


@AT_HAND
@pytest.mark.parametrize("exponent", [-41, -40, 0, 40, 41])
def test_the_same_bound_for_each_slice_gives_the_bits_of_one_for_all(library, exponent):
    radius = 2.0**exponent
    values = np.random.default_rng(0).standard_normal((64, 50)) * radius
    with library.active():
        w = library.array(values.astype("float32"))
        one, each = (MaxNorm(bound)(w) for bound in (radius, (radius,) * 50))
        assert bits(library.numpy(one)) == bits(library.numpy(each))


@AT_HAND
@pytest.mark.parametrize("exponent", [-81, -80, -79, 0, 79, 80, 81])
def test_a_slice_comes_out_as_it_does_alone(library, exponent):
    """Beside others that are multiplied by a factor, and such as are not."""
    unit = np.asarray([[3], [2], [1], [1], [1]], "float32") / 4  # of norm 1
    values = unit * np.float32([2.0**exponent, 1, 0, 2.0**100, 2.0**-100, np.inf])
    with library.active():
        for bound in (0.3, 1.1, 3.0):
            c = MinMaxNorm(bound, bound)
            alone = library.numpy(c(library.array(values[:, :1])))
            beside = library.numpy(c(library.array(values)))
            assert bits(beside[:, :1]) == bits(alone)


class Steps(NormConstraint):
    """Rows with a radius of their own; parts of equal ones have it as a number."""

    axis = 1

    def __init__(self, rows, first, others):
        self.rows, self.first, self.others = rows, first, others

    def interval(self):
        raise AssertionError("its parts have one")

    def for_part(self, shape, axes, part):
        rows = range(*part[0].indices(shape[0]))
        radii = [self.first if i < self.rows else self.others for i in rows]
        return MaxNorm(radii[0] if len(set(radii)) == 1 else tuple(radii), axis=1)


@AT_HAND
def test_each_part_is_changed_under_its_own_form(library):
    """A half type of two blocks: the rows of the first one have another radius."""
    values = np.random.default_rng(0).standard_normal((256, 1024)).astype("float16")
    with library.active():
        result = library.numpy(Steps(128, 1.0, 2.0)(library.array(values)))
    norms = np.linalg.norm(result.astype("float64"), axis=1)
    np.testing.assert_allclose(norms, [1.0] * 128 + [2.0] * 128, rtol=1e-3)


def test_the_measuring_script_finds_the_contract_kept(tmp_path):
    import measure_numerics

    for page in ("numerics.md", "keras.md"):
        shutil.copy(measure_numerics.ROOT / "docs" / page, tmp_path)
    measure_numerics.main(
        ["--lengths", "1", "3", "64", "--libraries", "numpy", "--output", str(tmp_path)]
    )
    table = pages.read(tmp_path / "numerics.md", "numerics")
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| numpy")]
    assert len(rows) == 12
    for row in rows:
        shares = [cell.strip(" |") for cell in row if "%" in cell]
        assert [s.startswith("100 % of") for s in shares[:2]] == [True, True]
        assert all(s.startswith("0 % of") for s in shares[2:])
    golden = pages.read(measure_numerics.ROOT / "docs" / "keras.md", "golden")
    assert pages.read(tmp_path / "keras.md", "golden").count("\n") == golden.count("\n") == 44
