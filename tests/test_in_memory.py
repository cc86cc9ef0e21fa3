"""Arrays at hand: blocks, partial sums, and what is neither written nor held."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
from exact import relative_excess
from hypothesis import given
from hypothesis import strategies as st
from libraries import DTYPES, JAX, NUMPY, ROUNDOFF, TORCH, bits, installed, normal

from array_constraints import (
    Elementwise,
    Interval,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    NormConstraint,
    Slicewise,
    UnitNorm,
    WholeSlice,
    apply,
    reductions,
)
from array_constraints.executors import whole
from array_constraints.executors.acceptance import accepted
from array_constraints.executors.grid import Grid
from array_constraints.numerics.partial_sums import exact_sum, partial_sums
from benchmarks import memory

BOTH = [library for library in (NUMPY, TORCH) if installed(library)]
both = pytest.mark.parametrize("library", BOTH, ids=str)


def reference(constraint, w):
    """The whole expression, which reads no value: without its array being at hand."""
    x, library = accepted("test", w)
    return whole.project(constraint, x, library.xp)


# Weights at, one below and one above the sizes from which partial sums (2**13, 2**15) and
# blocks (2**21) are used; slices at, below and above a block of 2**18; prime lengths, which
# leave tails; every place of the axis.
EDGES = [
    *[((n, 1), 0) for size in (2**13, 2**15, 2**21) for n in (size - 1, size, size + 1)],
    *[((9, n), 1) for n in (2**18 - 1, 2**18, 2**18 + 1)],
    ((2**21 + 1,), 0),
    ((2**20 + 1, 3), 0),
    ((2, 2**20 + 1), 0),
    ((1031, 2053), 0),
    ((1031, 2053), 1),
    ((67, 129, 257), (0, 2)),
    ((67, 129, 257), (1,)),
    ((67, 129, 257), (0, 1)),
    ((67, 129, 257), (1, 2)),
    ((64, 4, 9, 1000), (1, 3)),
    ((2**17 + 1, 17), 1),
]


@both
@pytest.mark.parametrize(("shape", "axis"), EDGES, ids=str)
def test_blocks_and_the_whole_agree_at_every_edge(library, shape, axis):
    w = normal(shape)
    axes = (axis,) if isinstance(axis, int) else axis
    entries = math.prod([shape[i] for i in axes])
    norms = np.sqrt(np.sum(w.astype("float64") ** 2, axis=axes))
    constraint = MaxNorm(float(np.median(norms)), axis)
    result = library.numpy(constraint(library.array(w)))
    tolerance = 2 * (12 + 1.5 * math.ceil(math.log2(entries))) * ROUNDOFF["float32"]
    np.testing.assert_allclose(result, reference(constraint, w), rtol=tolerance, atol=0)
    kept = np.broadcast_to(np.expand_dims(norms < 0.999 * constraint.max_value, axes), shape)
    assert bits(result[kept]) == bits(w[kept])
    written = library.array(w)
    assert constraint(written, copy=False) is written
    np.testing.assert_array_equal(library.numpy(written), result)
    violation = library.numpy(constraint.violation(library.array(w)))
    assert violation.shape == tuple(1 if i in axes else n for i, n in enumerate(shape))
    expected = np.maximum(norms - constraint.max_value, 0).reshape(violation.shape)
    np.testing.assert_allclose(violation, expected, atol=tolerance * float(norms.max()))


@both
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("constraint", [MaxNorm(9, 0), MinMaxNorm(9, 10, 0.5), UnitNorm(1)])
def test_every_dtype_in_several_blocks_and_orders(library, dtype, constraint):
    w = normal((1500, 1501), dtype)
    w[:, 3] = 0
    w[5] *= DTYPES[dtype].type(0.001)
    expected = library.numpy(constraint(library.array(w[:, :700]))), w[:, :700]
    for part, axes in ((w, (0, 1)), (w.T, (1, 0))):
        turned = (
            constraint
            if axes == (0, 1)
            else type(constraint)(**{**vars(constraint), "axis": 1 - constraint.axis})
        )
        array = library.array(w) if axes == (0, 1) else library.array(w).T
        result = library.numpy(turned(array))
        assert result.dtype == part.dtype
        exact = reference(turned, part)
        rounding = {"float16": 2 * 2.05, "bfloat16": 2 * 2.05}.get(dtype, 2 * (12 + 1.5 * 11))
        np.testing.assert_allclose(
            result.astype("float64"),
            exact.astype("float64"),
            rtol=rounding * ROUNDOFF[dtype],
            atol=float(np.abs(exact).max()) * 2.0**-20 if dtype == "float16" else 0,
        )
        again = library.numpy(turned(library.array(result))) if turned == constraint else None
        if again is not None and getattr(constraint, "rate", 1) == 1:
            assert bits(again) == bits(result)
    assert expected[0].shape == expected[1].shape


@both
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("n", [16, 33, 384, 4096])
def test_no_order_of_small_and_large_entries_breaks_the_contract(library, n, axis):
    """What a sum of more terms in float32 would lose: entries just below half its roundoff.

    A slice is one entry of 1 and others whose squares vanish when they are added to it one by
    one. Its norm is compared in exact arithmetic.
    """
    u = ROUNDOFF["float32"]
    limit = math.ceil(math.log2(n)) / 2 + 1.5
    slices = max(2, 2**16 // n)
    small = math.sqrt(0.98 * u)
    w = np.full((n, slices), small, "float32")
    w[np.arange(slices) % n, np.arange(slices)] = 1.0
    w[1::2] *= np.float32(0.5)
    exact_norm = math.sqrt(1 + float(np.sum(w[:, 0].astype("float64")[1:] ** 2)))
    for step in (-limit - 0.1, 0, limit + 0.2):  # the bound, in roundoffs beside the norm
        c = exact_norm * (1 - step * u)
        array = library.array(w if axis == 0 else np.ascontiguousarray(w.T))
        result = library.numpy(MaxNorm(c, axis)(array))
        result = result if axis == 0 else result.T
        for i in range(0, slices, max(1, slices // 7)):
            excess = relative_excess(result[:, i : i + 1], c)
            if bits(result[:, i]) == bits(w[:, i]):
                assert excess <= limit * u
            else:
                lost = (12 + 1.5 * math.ceil(math.log2(n))) * u
                assert -lost <= excess <= 0
                assert relative_excess(w[:, i : i + 1], c) > -limit * u


@both
def test_dead_and_extreme_slices_do_not_change_the_others(library):
    """They take the careful way; the result of the rest stays within the tolerance."""
    w = normal((2000, 600))
    expected = library.numpy(MaxNorm(30)(library.array(w)))
    for column, value in ((0, 0.0), (1, 1e-30), (2, 1e30), (3, np.inf), (4, np.nan)):
        changed = w.copy()
        changed[:, column] = value
        with np.errstate(all="raise"):
            result = library.numpy(MaxNorm(30)(library.array(changed)))
        others = np.arange(600) != column
        np.testing.assert_allclose(result[:, others], expected[:, others], rtol=4e-6)
        if value == 1e30:
            norm = np.sqrt(np.sum(result[:, 2].astype("float64") ** 2))
            assert 30 * (1 - 2e-6) <= norm <= 30
        else:
            assert bits(result[:, column]) == bits(changed[:, column])


@both
@pytest.mark.parametrize("shape", [(8, 8), (300, 300), (3000, 1000)], ids=str)
def test_an_allowed_weight_is_returned_itself(library, shape):
    w = library.array(normal(shape))
    for constraint in (MaxNorm(1e4), MaxNorm(1e4, 1), MinMaxNorm(0, 1e4)):
        for _ in range(2):
            assert constraint(w) is w
            assert constraint(w, copy=False) is w
            new = constraint(w, copy=True)
            assert new is not w
            assert bits(library.numpy(new)) == bits(library.numpy(w))
    positive = library.array(np.abs(normal(shape)))
    assert NonNeg()(positive) is positive


@both
def test_regions_that_are_allowed_are_copied_beside_those_that_change(library):
    for first in (True, False):
        w = normal((40000, 64)) * np.float32(0.01)
        w[slice(0, 3) if first else slice(-3, None)] *= np.float32(1000)
        result = library.numpy(MaxNorm(1, 1)(library.array(w)))
        assert (np.linalg.norm(result.astype("float64"), axis=1) <= 1).all()
        still = np.linalg.norm(w, axis=1) < 0.9
        assert 39000 < still.sum() < 40000
        assert bits(result[still]) == bits(w[still])


class Shifted(Slicewise):
    """A form of one's own that does not multiply: the mean of a slice is at most 0."""

    axis = 0

    def measure(self, block, axes, xp):
        return xp.sum(block, axis=axes, keepdims=True), reductions.count(block, axes, xp)

    def merge(self, a, b, xp):
        return a[0] + b[0], a[1] + b[1]

    def excess(self, measure, xp):
        mean = measure[0] / measure[1]
        return xp.where(mean > 0, mean, xp.zeros_like(mean))

    def apply(self, block, measure, xp):
        return block - self.excess(measure, xp)


class Above(Elementwise):
    """An entry is at least -1."""

    def project(self, w, xp):
        return xp.where(w < -1, xp.full_like(w, -1.0), w)

    def excess(self, w, xp):
        return xp.where(w < -1, -1 - w, xp.zeros_like(w))


@both
@pytest.mark.parametrize("shape", [(50, 40), (700, 800)], ids=str)
def test_forms_of_ones_own_run_in_blocks(library, shape):
    w = normal(shape, "float64")
    for form, expected in (
        (Shifted(), w - np.maximum(w.mean(axis=0), 0)),
        (Above(), np.maximum(w, -1)),
    ):
        for array in (library.array(w), library.array(np.ascontiguousarray(w.T)).T):
            np.testing.assert_allclose(library.numpy(form(array)), expected, atol=1e-12)
            assert form(array, copy=False) is array
            np.testing.assert_allclose(library.numpy(array), expected, atol=1e-12)
        kept = library.array(-np.abs(w) / 100)
        assert form(kept) is kept


class TestRegions:
    @given(
        shape=st.lists(st.sampled_from([1, 2, 3, 64, 65, 300]), min_size=1, max_size=4),
        most=st.sampled_from([17, 64, 1000, 5000]),
        data=st.data(),
    )
    def test_blocks_cover_each_entry_once_and_regions_hold_whole_slices(
        self, shape, most, data
    ):
        while math.prod(shape) > 20_000:
            shape.pop()
        axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1)))))
        seen = np.zeros(shape, int)
        order = tuple(data.draw(st.permutations(range(len(shape)))))
        for region, blocks in Grid(tuple(shape), axes, None, order, most).columns():
            inside = np.zeros(shape, int)
            for block in blocks:
                assert seen[block].size <= most
                inside[block] += 1
            whole = np.zeros(shape, int)
            whole[region] += 1
            np.testing.assert_array_equal(inside, whole)
            assert all(region[i] == slice(0, shape[i]) for i in axes)
            seen += inside
        assert (seen == 1).all()


class TestSums:
    @given(
        shape=st.lists(st.sampled_from([1, 2, 5, 12, 31, 97]), min_size=1, max_size=4),
        terms=st.integers(1, 20),
        data=st.data(),
    )
    def test_partial_sums_have_few_terms_and_add_up_to_the_squares(self, shape, terms, data):
        while math.prod(shape) > 20_000:
            shape.pop()
        axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1)))))
        w = np.random.default_rng(0).integers(1, 9, shape).astype("float64")
        lengths = []

        def add(x):
            lengths.append(x.shape[1])
            return np.sum(x * x, axis=1)

        sums = partial_sums(w, axes, terms, add, np)
        assert max(lengths) <= terms
        kept = [n for i, n in enumerate(shape) if i not in axes]
        total = sum(np.sum(part, axis=1) for part in sums)
        np.testing.assert_array_equal(
            np.reshape(total, kept), np.sum(w * w, axis=axes) if axes else w * w
        )

    @pytest.mark.parametrize(
        ("shape", "axes", "added"),
        [
            ((1024,), (0,), [(1, 8, 128)]),  # 8: the largest divisor up to 12
            ((1031,), (0,), [(1, 12, 85), (1, 11, 1)]),  # a prime number leaves a rest
            ((606,), (0,), [(1, 12, 50), (1, 6, 1)]),  # 6 is a divisor, but half of 12
            ((120, 1000), (0,), [(2, 12, 4000), (1, 12, 2000)]),  # 4 rows fit into the cache
            ((2, 24, 8192), (1,), [(4, 12, 8192)]),  # one row is more than that
            ((12 * 8192,), (0,), [(2, 12, 4096)]),
            ((12 * 8194,), (0,), [(2, 12, 4096), (1, 12, 2)]),  # not 4097, a divisor
            ((12, 10, 4), (0, 1), [(1, 12, 40)]),
        ],
    )
    def test_segments_are_added_to_those_of_the_last(self, shape, axes, added):
        """At most 12 at a time, in sums of up to 4096 entries that lie beside each other."""
        shapes = []

        def add(x):
            shapes.append(x.shape)
            return np.sum(x, axis=1)

        partial_sums(np.ones(shape), axes, 12, add, np)
        assert shapes == added

    @pytest.mark.parametrize("library", BOTH, ids=str)
    def test_small_squares_are_summed_with_care_however_many_they_are(self, library):
        """Each is 3,461 times the smallest number and an eighth, which float32 drops."""
        w = np.full((2**21, 1), 1.3 * 2.0**-69, "float32")
        bound = 2.0**10 * float(w[0, 0])  # of a norm of 2**10.5 entries
        found = library.numpy(MaxNorm(bound)(library.array(w)))
        excess = relative_excess(found[:2, 0], bound / 2**10)
        assert -50 * 2.0**-24 <= excess <= 0

    @pytest.mark.parametrize("library", BOTH, ids=str)
    @pytest.mark.parametrize("axis", [0, 1])
    @pytest.mark.parametrize("place", [0, 2**16, 2**17 - 1])
    def test_a_slice_out_of_range_is_summed_with_care_wherever_it_lies(
        self, library, axis, place
    ):
        w = np.ones((4, 2**17), "float32")
        w[:, place] = 3 * 2.0**70
        w = w if axis == 0 else np.ascontiguousarray(w.T)
        norms = np.full(2**17, 2.0)
        norms[place] = 6 * 2.0**70
        found = library.numpy(MaxNorm(1.0, axis).violation(library.array(w)))
        np.testing.assert_allclose(found.ravel(), norms - 1, rtol=1e-6)

    @pytest.mark.parametrize("library", BOTH, ids=str)
    def test_a_sum_of_float64_is_that_of_a_tree(self, library):
        """One after the other, 2**20 equal terms are off by hundreds of roundoffs."""
        w = np.full((2**20, 2), 0.1)
        x, kind = accepted("test", library.array(w))
        found = library.numpy(reductions.sum(x, (0,), kind.xp))
        exact = 2**20 * Fraction(0.1)
        assert abs(Fraction(found[0, 0].item()) - exact) <= 21 * 2.0**-53 * exact

    @pytest.mark.parametrize("order", ["rising", "falling", "mixed"])
    def test_exact_sums_lose_nothing_in_any_order(self, order):
        values = np.exp2(-np.arange(4000) / 37.0)
        values = {"rising": values[::-1], "falling": values}.get(
            order, np.random.default_rng(0).permutation(values)
        )
        square, carry = exact_sum(
            np.ascontiguousarray(values).reshape(1, -1, 1), lambda x: np.cumsum(x, 1)[:, -1], np
        )
        exact = math.fsum(values)
        assert abs(float(square[0, 0]) - exact + float(carry[0, 0])) <= 2.0**-52 * exact
        assert float(square[0, 0]) + float(carry[0, 0]) == pytest.approx(exact, rel=2.0**-53)

    def test_leading_parts_are_cut_at_a_digit_above_their_sum(self):
        """Cut at the sum's own digit, these three add up to what has a bit too many."""
        values = [float.fromhex(f"0x1.555555555555{digit}p-1") for digit in "05a"]
        found = exact_sum(np.reshape(values, (1, 3, 1)), lambda x: np.cumsum(x, 1)[:, -1], np)
        assert sum(Fraction(part.item()) for part in found) == sum(map(Fraction, values))


def test_arrays_that_are_not_at_hand_are_not_read():
    """Recorded by autograd, mapped over, traced, on another device: no value is looked at."""
    torch = pytest.importorskip("torch")

    def held(w):
        x, library = accepted("test", w)
        return library.at_hand(x)

    w = torch.zeros(3, 2)
    assert held(w)
    assert held(torch.nn.Parameter(w, requires_grad=False))
    assert not held(torch.nn.Parameter(w))
    with torch.no_grad():
        assert held(torch.nn.Parameter(w))
    assert not held(torch.zeros(3, 2, device="meta"))
    found = []
    torch.func.vmap(lambda x: (found.append(held(x)), x)[1])(w)
    torch.func.grad(lambda x: (found.append(held(x)), x.sum())[1])(w)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch uses what it deprecates
        with torch.autograd.forward_ad.dual_level():
            found.append(held(torch.autograd.forward_ad.make_dual(w, w)))
        torch.jit.trace(lambda x: (found.append(held(x)), x * 2)[1], w, check_trace=False)
    assert found == [False] * 4
    assert not held(np.zeros(3).view(type("Sub", (np.ndarray,), {})))
    assert not held(np.zeros(3, ">f4"))
    assert held(np.zeros(3))


@both
def test_what_was_found_for_one_array_is_judged_again_for_the_next(library):
    """A call remembers what follows from the shape: not whether the next may be written."""
    constraint, w = MaxNorm(1.0), normal((16, 4))
    constraint(library.array(w))
    other = library.array(w)
    if library is NUMPY:
        other.flags.writeable = False
        message = "read-only"
    else:
        other.requires_grad_()
        message = "requires grad"
    with pytest.raises(ValueError, match=message):
        constraint(other, copy=False)
    with pytest.raises(TypeError, match="copy must be"):
        constraint(library.array(w), copy=1)
    with pytest.raises(TypeError, match="real floating dtype"):
        constraint(library.array(w.astype("int32")))


@dataclass(frozen=True, eq=False)
class Alike(NormConstraint):
    """A form that calls all of its kind equal, whatever their radius."""

    radius: float
    axis: int = 0

    def __eq__(self, other):
        return isinstance(other, Alike)

    def __hash__(self):
        return 0

    def interval(self):
        return Interval(0.0, self.radius)


@both
def test_what_is_remembered_is_remembered_of_one_form(library):
    w = library.array(normal((16, 4)))
    for radius in (0.5, 2.0, 0.5):
        norms = np.linalg.norm(library.numpy(Alike(radius)(w)).astype("float64"), axis=0)
        np.testing.assert_allclose(norms, radius, rtol=1e-5)


@both
def test_a_result_is_kept_however_it_is_measured_next(library):
    """In float64 beside a slice that is out of range, in partial sums once that is mended."""
    n = 2**15
    p = np.full(n, 2.0**-12 * 1.0002, "float32")  # squares just over half a roundoff of 1
    p[: n // 17] = 1
    norm = float(np.sqrt(np.sum(p.astype("float64") ** 2)))
    for d in (3, 4, 5, 6):
        c = norm * (1 + d * ROUNDOFF["float32"])
        for constraint, first in (
            (MaxNorm(c, 1), 1e25),
            (MinMaxNorm(c / 2, c, axis=1), 1e-30),
        ):
            w = np.stack([np.full(n, first, "float32"), 2 * p])
            once = constraint(library.array(w))
            again = constraint(library.array(library.numpy(once)))
            assert bits(library.numpy(again)) == bits(library.numpy(once))
            assert not library.numpy(constraint.violation(once)).any()
        each = [MaxNorm(c, 0)(library.array(2 * p[:4095])) for _ in range(8)]
        for one, other in zip(each, apply(MaxNorm(c, 0), each), strict=True):
            assert bits(library.numpy(one)) == bits(library.numpy(other))


def test_the_default_device_of_torch_does_not_matter():
    torch = pytest.importorskip("torch")
    w = normal((3000, 1000))
    for part in (w[:4, :3].copy(), w):
        expected = [MaxNorm(1.5)(part), MaxNorm(1.5).violation(part)]
        for _ in range(2):
            tensor = torch.from_numpy(part.copy())
            with torch.device("meta"):
                found = [MaxNorm(1.5)(tensor), MaxNorm(1.5).violation(tensor)]
            assert all(x.device.type == "cpu" for x in found)
            for x, y in zip(found, expected, strict=True):
                np.testing.assert_allclose(x.numpy(), y, rtol=4e-6, atol=1e-5)


@both
def test_a_class_that_is_not_itself_frozen_is_asked_each_time(library):
    class Growing(Alike):
        def __init__(self, radius):
            super().__init__(radius)
            object.__setattr__(self, "now", radius)

        def interval(self):
            return Interval(0.0, self.now)

    form, w = Growing(1.0), library.array(normal((16, 4)))
    for now in (1.0, 0.5):
        object.__setattr__(form, "now", now)
        norms = np.linalg.norm(library.numpy(form(w)).astype("float64"), axis=0)
        np.testing.assert_allclose(norms, now, rtol=1e-5)


class Schedule:
    now = 1.0


@dataclass(frozen=True)
class Scheduled(NormConstraint):
    """A frozen form, a field of which is an object that changes."""

    schedule: object
    axis: int = 0

    def interval(self):
        return Interval(0.0, self.schedule.now)


@dataclass(frozen=True)
class OfAClass(NormConstraint):
    """A frozen form that follows an attribute of its class."""

    axis: int = 0
    now: ClassVar[float] = 1.0

    def interval(self):
        return Interval(0.0, self.now)


@dataclass(frozen=True)
class Nested(NormConstraint):
    """A frozen form whose field holds the schedule in a tuple, or keeps state beside it."""

    inside: tuple[object, ...]
    axis: int = 0

    def interval(self):
        return Interval(0.0, getattr(self, "now", self.inside[0].now))


def set_on_an_instance(form, now):
    object.__setattr__(form, "now", now)


@pytest.mark.parametrize("library", [*BOTH, JAX], ids=str)
@pytest.mark.parametrize("shape", [(16, 4), (3000, 100)], ids=str)
def test_a_form_that_changes_is_asked_each_time(library, shape):
    schedule, other = Schedule(), Schedule()
    forms = [
        (Scheduled(schedule), lambda now: setattr(schedule, "now", now)),
        (Nested((schedule,)), lambda now: setattr(schedule, "now", now)),
        (form := Nested((other,)), lambda now: set_on_an_instance(form, now)),
    ]
    if library is not JAX:  # which compiles a function once, whatever else it reads
        forms.append((OfAClass(), lambda now: setattr(OfAClass, "now", now)))
    with library.active():
        w = library.array(normal(shape) * np.float32(10))
        for form_, change in forms:
            for now in (1.0, 0.5, 2.0):
                change(now)
                for result in (form_(w), apply(form_, [w] * 2)[0], apply(form_, {"w": w})["w"]):
                    norms = np.linalg.norm(library.numpy(result).astype("float64"), axis=0)
                    np.testing.assert_allclose(norms, now, rtol=1e-5)
                violation = library.numpy(form_.violation(w)).ravel()
                norms = np.linalg.norm(library.numpy(w).astype("float64"), axis=0)
                np.testing.assert_allclose(violation, norms - now, rtol=1e-5)


@dataclass(frozen=True)
class Hidden(NormConstraint):
    """A form that compares and shows itself without its radius."""

    radius: float = field(compare=False, repr=False)
    axis: int = 0

    def interval(self):
        return Interval(0.0, self.radius)


@pytest.mark.parametrize("library", [*BOTH, JAX], ids=str)
def test_forms_are_told_apart_by_all_that_they_keep(library):
    with library.active():
        w = library.array(normal((16, 4)))
        for radius in (0.5, 0.25, 0.5):
            for result in (Hidden(radius)(w), apply(Hidden(radius), [w])[0]):
                norms = np.linalg.norm(library.numpy(result).astype("float64"), axis=0)
                np.testing.assert_allclose(norms, radius, rtol=1e-5)


class TestMemory:
    """Peaks beyond the weight, as multiples of it: they do not depend on the machine."""

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    @pytest.mark.parametrize(
        ("shape", "axis"),
        [((2048, 2048), 0), ((2048, 2048), 1), ((2**18, 16), 1), ((16, 2**18), 0)],
    )
    @both
    def test_a_new_result_holds_itself_and_blocks(self, library, shape, axis, dtype):
        values = normal(shape, dtype)
        w = library.array(values)
        peak = memory.numpy_peak if library is NUMPY else memory.torch_peak
        n = shape[axis]
        assert peak(lambda: MaxNorm(0.9 * n**0.5, axis)(w)) <= 1.1 * values.nbytes
        assert peak(lambda: MaxNorm(1e4, axis)(w)) <= 0.1 * values.nbytes
        assert peak(lambda: MaxNorm(0.9 * n**0.5, axis)(w, copy=False)) <= 0.1 * values.nbytes
        distances = 8 * values.size // n
        assert peak(lambda: MaxNorm(1, axis).violation(w)) <= 0.1 * values.nbytes + distances


class Quartered(NormConstraint):
    """A rescaling that is applied in a way of its own: any slice above the radius, by 1/4."""

    axis = 0

    def interval(self):
        return Interval(0.0, 1.0)

    def apply(self, block, measure, xp):
        return block * 0.25


@pytest.mark.parametrize("library", [*BOTH, JAX], ids=str)
def test_a_rescaling_with_an_apply_of_its_own_is_asked_for_it_everywhere(library):
    with library.active():
        w = library.array(np.asarray([[3.0, 0.3], [4.0, 0.4]], "float32"))
        expected = np.asarray([[0.75, 0.3], [1.0, 0.4]], "float32")
        np.testing.assert_array_equal(library.numpy(Quartered()(w)), expected)


@both
def test_one_radius_beyond_the_ordinary_leaves_the_others_on_the_fast_path(library):
    """Zero, infinity, and what lies so far out that a product could leave the range."""
    w = normal((600, 700))
    radii = np.full(700, 3.0)
    radii[:4] = 0.0, np.inf, 1e-30, 1e30
    result = library.numpy(MaxNorm(tuple(radii))(library.array(w)))
    norms = np.linalg.norm(result.astype("float64"), axis=0)
    assert norms[0] == 0
    assert bits(result[:, 1]) == bits(w[:, 1])
    assert bits(result[:, 3]) == bits(w[:, 3])
    np.testing.assert_allclose(norms[2], 1e-30, rtol=1e-6)
    alone = library.numpy(MaxNorm(3.0)(library.array(w)))
    assert bits(result[:, 4:]) == bits(alone[:, 4:])


class Held(NormConstraint):
    """A ball whose bound is an array, as a schedule may hold it."""

    axis = 1

    def __init__(self, radius):
        self.radius = radius

    def interval(self):
        return Interval(0.0, self.radius)


@both
@pytest.mark.parametrize("copy", [None, False])
def test_a_bound_that_is_an_array_serves_panels_of_any_length(library, copy):
    w = normal((2500, 1111))
    result = library.numpy(Held(library.array(np.asarray(0.5)))(library.array(w), copy=copy))
    expected = MaxNorm(0.5, 1)(w)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


regions: list[tuple[slice, ...]] = []


def first_of(region):
    return float(sum(part.start or 0 for part in region))


@dataclass(frozen=True)
class Capped(WholeSlice):
    """Subtract what the largest entry of a slice is above the number of its region."""

    axis: int = 0
    most: float = 0.0

    def for_part(self, shape, axes, region):
        regions.append(region)
        return replace(self, most=first_of(region) / 100)

    def project(self, slices, xp):
        excess = self.excess(slices, xp)
        return slices - xp.astype(excess, slices.dtype)

    def excess(self, slices, xp):
        above = xp.max(slices, axis=-1, keepdims=True) - self.most
        return xp.maximum(above, xp.zeros_like(above))


@both
@pytest.mark.parametrize("copy", [None, False])
@pytest.mark.parametrize(("shape", "axis"), [((1400, 300), 0), ((30, 700, 20), 1)])
def test_whole_slices_are_projected_some_at_a_time(library, copy, shape, axis):
    w = normal(shape)
    x = library.array(w.copy())
    regions.clear()
    result = Capped(axis)(x, copy=copy)
    assert (result is x) == (copy is False)
    assert len(regions) > 1
    expected = np.full(shape, np.nan)
    for region in regions:
        part = w[region]
        assert part.size <= 2**18
        above = part.max(axis=axis, keepdims=True) - first_of(region) / 100
        expected[region] = part - np.maximum(above, 0)
    np.testing.assert_allclose(library.numpy(result), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["int8", "int32", "float16", "float32"])
def test_torch_constrains_entries_that_no_view_of_bits_shows(name):
    """Integers where subnormal numbers are flushed; tensors whose sign is kept beside them."""
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, name)
    torch.set_flush_denormal(True)
    try:
        w = torch.tensor([-3, 0, 5]).to(dtype)
        assert NonNeg()(w).tolist() == [0, 0, 5]
        assert NonNeg()(w, copy=False).tolist() == [0, 0, 5]
    finally:
        torch.set_flush_denormal(False)
    if dtype.is_floating_point:
        lazily = torch._neg_view(torch.tensor([3, 0, -5]).to(dtype))
        assert NonNeg()(lazily).tolist() == [0, 0, 5]
        assert NonNeg()(lazily, copy=False).tolist() == [0, 0, 5]
