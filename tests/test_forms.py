"""Rescalings of one's own: any size, any kind of bound, on every library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from libraries import DTYPES, JAX_X64, NUMPY, TORCH, bits

from array_constraints import Bound, Interval, MaxNorm, NormConstraint, Rescaling, reductions
from array_constraints.reductions import Size


@dataclass(frozen=True)
class LInfinityBall(Rescaling):
    """Slices whose largest magnitude is the radius at most, by rescaling."""

    radius: Bound = 1.0
    axis: int | tuple[int, ...] | None = 0

    measure = staticmethod(reductions.largest_magnitude)
    size = staticmethod(reductions.norm)

    def interval(self):
        return Interval(0.0, self.radius)


@dataclass(frozen=True)
class RootMeanSquare(NormConstraint):
    """Slices with a root mean square of their own."""

    radius: Bound = 1.0
    axis: int | tuple[int, ...] | None = 0

    def size(self, measure, xp):
        return Size(measure.value / measure.entries, measure.scale, 2)

    def interval(self):
        return Interval(self.radius, self.radius)


@dataclass(frozen=True)
class L1Ball(Rescaling):
    """Slices whose magnitudes add up to the radius at most, by rescaling."""

    radius: Bound = 1.0
    axis: int | tuple[int, ...] | None = 0

    measure = staticmethod(reductions.sum_of_magnitudes)
    size = staticmethod(reductions.norm)

    def interval(self):
        return Interval(0.0, self.radius)


SIZES = {
    LInfinityBall: lambda w, axis: np.max(np.abs(w), axis=axis),
    RootMeanSquare: lambda w, axis: np.sqrt(np.mean(w * w, axis=axis)),
    L1Ball: lambda w, axis: np.sum(np.abs(w), axis=axis),
}
every_form = pytest.mark.parametrize("form", SIZES, ids=lambda form: form.__name__)


def normal(shape, dtype="float32", seed=0):
    return (3 * np.random.default_rng(seed).standard_normal(shape)).astype(DTYPES[dtype])


@every_form
@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_sizes_end_in_their_interval(library, form, axis, dtype):
    if dtype not in library.dtypes:
        pytest.skip(f"{library} has no {dtype}")
    values = normal((6, 40), dtype)
    with library.active():
        c = form(3.0, axis)
        result = c(library.array(values))
        assert not library.numpy(c.violation(result)).any()
        assert bits(library.numpy(c(result))) == bits(library.numpy(result))
        found = SIZES[form](library.numpy(result).astype("float64"), axis)
        relative = {"float16": 3e-3, "float32": 1e-5, "float64": 1e-13}[dtype]
        assert (found <= 3 + 3 * (relative if form is RootMeanSquare else 0)).all()
        before = SIZES[form](values.astype("float64"), axis)
        assert (found >= np.minimum(before, 3) * (1 - relative)).all()


@every_form
def test_without_entries_nothing_changes(library, form):
    with library.active():
        for shape in ((0, 3), (3, 0), (0,)):
            result = library.numpy(form(3.0)(library.array(normal(shape))))
            assert (result.shape, result.dtype) == (shape, np.float32)


@every_form
@pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
@pytest.mark.parametrize("shape", [(1700, 1300), (1300, 1700)], ids=str)
def test_in_blocks_and_in_place(library, form, shape):
    values = normal(shape)
    for axis in (0, 1):
        c = form(3.5, axis)
        w = library.array(values)
        found = library.numpy(c(w)).copy()
        assert c(w, copy=False) is w
        assert bits(library.numpy(w)) == bits(found)
        sizes = SIZES[form](found.astype("float64"), axis)
        np.testing.assert_allclose(sizes, 3.5, rtol=1e-4)
        assert c(w) is w


@every_form
@pytest.mark.parametrize("library", [NUMPY, TORCH, JAX_X64], ids=str)
@pytest.mark.parametrize("factor", [2.0**1000, 2.0**-1000], ids=["large", "small"])
def test_sizes_are_homogeneous_where_their_squares_are_out_of_range(library, form, factor):
    w = normal((6, 4), "float64")
    with library.active():
        for radius in (0.5, 3.0):
            plain, scaled = form(radius), form(factor * radius)
            large = library.array(factor * w)
            for method in ("__call__", "violation"):
                found = library.numpy(getattr(scaled, method)(large))
                expected = library.numpy(getattr(plain, method)(library.array(w)))
                np.testing.assert_allclose(found / factor, expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("library", [NUMPY, TORCH, JAX_X64], ids=str)
@pytest.mark.parametrize(
    "bound",
    [np.float32(2), np.asarray(2.0), 2, [2.0, 2.0, 2.0, 2.0], np.full(4, 2.0)],
    ids=["scalar", "0-d array", "int", "list", "array"],
)
def test_bounds_of_every_kind(library, bound):
    class Ball(NormConstraint):
        axis = 0

        def interval(self):
            return Interval(0.0, bound)

    with library.active():
        w = library.array(normal((6, 4)))
        assert bits(library.numpy(Ball()(w))) == bits(library.numpy(MaxNorm(2.0)(w)))


def form_between(lower: Any, upper: Any, rate: Any = 1.0) -> NormConstraint:
    class Between(NormConstraint):
        axis = 0

        def interval(self):
            return Interval(lower, upper, rate)

    return Between()


def test_bounds_that_are_none(library):
    with library.active():
        w = library.array(normal((6, 4)))
        with pytest.raises(TypeError, match="a bound is a number, or one for each slice, got"):
            form_between(0.0, object())(w)
        with pytest.raises(TypeError, match="rate of an interval is one number"):
            form_between(0.0, 1.0, (0.5, 0.5, 1.0, 1.0))(w)


def test_the_largest_magnitudes_of_two_blocks_are_merged():
    blocks = np.asarray([[1.0, -9.0], [-3.0, 2.0]]), np.asarray([[2.0, np.nan]])
    a, b = (reductions.largest_magnitude(block, (0,), np) for block in blocks)
    for found in (reductions.merge(a, b, np), reductions.merge(b, a, np)):
        assert (found.entries, found.precision) == (3, a.precision)
        np.testing.assert_array_equal(found.value, [[3.0, np.nan]])


class Magnitudes:
    """What a form of the magnitudes that add up to 1 states: no form itself."""

    axis = 0
    measure = staticmethod(reductions.sum_of_magnitudes)
    size = staticmethod(reductions.norm)

    def interval(self):
        return Interval(0.0, 1.0)


class OwnExcess(Magnitudes, Rescaling):
    """Magnitudes that add up to 1, of which up to 2 are kept."""

    def excess(self, measure, xp):
        excess = super().excess(measure, xp)
        return xp.where(excess > 1, excess, xp.zeros_like(excess))


class OwnApply(Magnitudes, Rescaling):
    """Magnitudes that add up to 1; larger slices become zero."""

    def apply(self, block, measure, xp):
        return xp.zeros_like(block)


class OwnOfBoth(OwnApply, OwnExcess):
    """Magnitudes that add up to 2; larger slices become zero."""


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (OwnExcess(), [[0.25, 0.75, 0.25], [0.75, 1.0, 0.5]]),
        (OwnApply(), [[0.0, 0.0, 0.25], [0.0, 0.0, 0.5]]),
        (OwnOfBoth(), [[0.0, 0.75, 0.25], [0.0, 1.0, 0.5]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_excess_or_a_change_of_ones_own_takes_the_place_of_what_is_derived(
    library, form, expected
):
    with library.active():
        w = library.array(np.asarray([[1.0, 0.75, 0.25], [3.0, 1.0, 0.5]], "float32"))
        for _ in range(2):
            np.testing.assert_allclose(library.numpy(form(w)), expected, rtol=1e-6)


@dataclass(frozen=True)
class Optional(NormConstraint):
    radius: Bound | None = None
    axis: int = 0

    def interval(self):
        return Interval(0.0, float("inf") if self.radius is None else self.radius)


def test_a_bound_may_be_absent(library):
    with library.active():
        w = library.array(normal((6, 4)))
        assert bits(library.numpy(Optional()(w))) == bits(library.numpy(w))
        found = library.numpy(Optional(2.0)(w))
        assert bits(found) == bits(library.numpy(MaxNorm(2.0)(w)))
