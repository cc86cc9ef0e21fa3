"""Formats, and the targets inside a bound: each worked by hand from ``docs/numerics.md``."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from array_constraints import Interval, reductions
from array_constraints.libraries import of_namespace
from array_constraints.numerics import rescaling
from array_constraints.numerics.formats import FORMATS, Format, Precision
from array_constraints.numerics.margins import most_terms
from array_constraints.numerics.rescaling import Size

U = 2.0**-53
ANY = 2**20  # a sum of so many terms in any order
HALF = 34 * 2.0**-24 + ANY * U  # and 32 of them in float32, the factor and the product
LARGEST = {name: FORMATS[name].largest for name in FORMATS}


def sizes_of(
    lower, upper, weight="float64", accumulator="float64", entries=1, slices=1, power=2
):
    precision = Precision(FORMATS[weight], FORMATS[accumulator])
    off = {1: reductions.roundoffs_of_sum, 2: reductions.roundoffs_of_norm}
    roundoffs = off[power](entries, precision)
    value, interval = np.ones((1, slices), dtype=accumulator), Interval(lower, upper)
    size, library = Size(value, None, power), of_namespace(np)
    found = (size, entries, precision, interval, roundoffs, library)
    return library.quietly(rescaling.sizes, *found)


def limits_of(lower, upper, **kind):
    return sizes_of(lower, upper, **kind).limits


def close_to(expected):
    """Within a few roundoffs of float64: the margins of a narrower dtype are far larger."""
    return pytest.approx(expected, rel=8 * U, abs=0)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_those_of_numpy(name):
    info = ml_dtypes.finfo(name)
    assert FORMATS[name].name == name
    assert FORMATS[name].roundoff == float(info.eps) / 2
    assert FORMATS[name].smallest_normal == float(info.smallest_normal)
    assert FORMATS[name].largest == float(info.max)


@pytest.mark.parametrize(
    ("weight", "accumulator", "narrows", "overflows", "spare", "any_order"),
    [
        ("float16", "float64", True, False, True, True),
        ("bfloat16", "float64", True, False, True, True),
        ("float32", "float64", True, False, True, True),
        ("float64", "float64", False, True, False, False),
        ("float16", "float32", True, False, False, False),
        ("bfloat16", "float32", True, True, True, False),
        ("float32", "float32", False, True, False, False),
    ],
)
def test_what_an_accumulator_spares(weight, accumulator, narrows, overflows, spare, any_order):
    precision = Precision(FORMATS[weight], FORMATS[accumulator])
    assert precision.narrows is narrows
    assert precision.overflows(2) is overflows
    assert precision.many_spare_digits is spare
    assert precision.any_order is any_order
    assert precision.partial == FORMATS["float32" if any_order else accumulator]


def test_an_accumulator_has_room_for_the_squares_of_2_to_the_40_entries():
    """Squares below 2**86 add up to less than 2**126; below 2**88, to almost 2**128."""
    single = FORMATS["float32"]
    assert not Precision(Format("", 8, 43), single).overflows(2)
    assert Precision(Format("", 8, 44), single).overflows(2)
    assert Precision(Format("", 8, 45), single).overflows(2)


def test_sixteen_digits_are_enough_to_spare():
    assert Precision(Format("", 8, 16), FORMATS["float32"]).many_spare_digits
    assert not Precision(Format("", 9, 16), FORMATS["float32"]).many_spare_digits
    assert Precision(Format("", 7, 16), FORMATS["float32"]).many_spare_digits


def test_with_twenty_nine_digits_the_order_of_a_sum_is_no_matter():
    assert Precision(Format("", 24, 16), FORMATS["float64"]).any_order
    assert not Precision(Format("", 25, 16), FORMATS["float64"]).any_order
    assert Precision(Format("", 23, 16), FORMATS["float64"]).any_order


@pytest.mark.parametrize(
    ("entries", "steps"),
    [(0, 7), (1, 7), (2, 8), (3, 9), (4, 9), (5, 10), (1000, 17), (1024, 17), (1025, 18)],
)
@pytest.mark.parametrize("known", [True, False])
def test_targets_are_steps_inside_where_nothing_is_rounded_again(entries, steps, known):
    """ceil(log2 n) + 7 roundoffs, also of slices whose length turns out when it is computed."""
    entries = entries if known else np.asarray([[float(entries)]])
    found = limits_of(0.5, 1.0, entries=entries)
    assert (found.lower, found.upper) == (0.5, 1.0)
    assert found.upper_target == 1 - steps * U
    assert found.lower_target == 0.5 + 0.5 * (steps * U)


@pytest.mark.parametrize(
    ("c", "entries", "share"),  # ratio of the smallest normal number 2**-14 to c
    [
        (1.0, 4, 1.5 - 0.5 / (1 + 4 * 2.0**-28)),
        (2.0**-14, 1, 1.25),  # ratio 1: 1.5 - 0.5 / 2
        (2.0**-14, 3, 1.375),  # 1.5 - 0.5 / (1 + 3)
        (2.0**-15, 1, 1.4),  # ratio 2: 1.5 - 0.5 / (1 + 4)
        (2.0**-15, 6, 1.48),  # 1.5 - 0.5 / (1 + 24)
    ],
)
def test_targets_of_a_rounded_result_leave_room_for_that_rounding(c, entries, share):
    """2**20 steps of the wide accumulator, and u (1 + u) times the share, u = 2**-11."""
    stored = 2.0**-11 * (1 + 2.0**-11) * share
    found = limits_of(c, 4.0, weight="float16", entries=entries)
    assert (found.lower, found.upper) == (c, 4.0)
    assert found.lower_target == close_to(c * (1 + HALF) / (1 - stored))
    found = limits_of(0.0, c, weight="float16", entries=entries)
    assert (found.lower, found.lower_target) == (0.0, 0.0)
    assert found.upper_target == close_to(c * (1 - HALF) / (1 + stored))
    (targets,) = limits_of(0.0, (c, 0.0), weight="float16", entries=entries, slices=2)[3]
    assert targets[0] == close_to(c * (1 - HALF) / (1 + stored))
    assert targets[1] == 0


@pytest.mark.parametrize(
    ("c", "entries", "share"),  # ratio of the smallest normal number 2**-14 to c
    [
        (1.0, 4, 1 + 4 * 2.0**-14),
        (2.0**-12, 1, 1.25),
        (2.0**-12, 3, 1.75),
        (2.0**-14, 1, 2.0),
        (2.0**-15, 6, 2.0),  # 12 entries' worth: at most the bound itself is off
        (1e-300, 1, 2.0),
    ],
)
def test_targets_of_a_sum_leave_room_for_the_rounding_of_each_entry(c, entries, share):
    """64 terms in float32 at a time, and u (1 + u) times the share, u = 2**-11."""
    stored = 2.0**-11 * (1 + 2.0**-11) * share
    slack = 66 * 2.0**-24 + 2 * ANY * U
    kind = {"weight": "float16", "entries": entries, "power": 1}
    found = limits_of(c, 4.0, **kind)
    assert found.lower_target == close_to(c * (1 + slack) / (1 - stored))
    assert limits_of(0.0, c, **kind).upper_target == close_to(c * (1 - slack) / (1 + stored))
    (targets,) = limits_of(0.0, (c, 0.0), slices=2, **kind).upper_target
    assert targets[0] == close_to(c * (1 - slack) / (1 + stored))
    assert targets[1] == 0


@pytest.mark.parametrize(
    ("weight", "accumulator", "entries", "slack"),
    [
        (
            "float32",
            "float64",
            1,
            4 * 2.0**-24 + ANY * U,
        ),  # L + 2 terms, the factor, the product
        ("float32", "float64", 64, 10 * 2.0**-24 + ANY * U),
        ("float32", "float64", 65, 11 * 2.0**-24 + ANY * U),
        ("float16", "float64", 1, HALF),
        ("bfloat16", "float64", 4096, HALF),
        ("bfloat16", "float32", 64, 1024 * 2.0**-24),  # a sum that the library makes
    ],
)
def test_slack_where_the_accumulator_has_digits_to_spare(weight, accumulator, entries, slack):
    kind = {"weight": weight, "accumulator": accumulator, "entries": entries}
    u, t = FORMATS[weight].roundoff, FORMATS[weight].smallest_normal
    stored = u * (1 + u) * (1.5 - 0.5 / (1 + entries * t * t))
    assert limits_of(0.0, 1.0, **kind).upper_target == (1 - slack) / (1 + stored)
    unknown = kind | {"entries": np.asarray([[float(entries)]])}
    found = limits_of(0.0, 1.0, **unknown).upper_target
    assert found == pytest.approx((1 - slack) / (1 + stored), rel=8 * U)


@pytest.mark.parametrize(
    ("weight", "accumulator", "terms"),
    [
        ("float64", "float64", 11),  # half a roundoff each: L/2 + 0.5, and 1 for the root
        ("bfloat16", "float32", 11),
        ("float32", "float64", 12),  # L/2 + 1 in float32, where the root counts for nothing
        ("float16", "float64", 32),
        ("bfloat16", "float64", 32),
    ],
)
def test_a_partial_sum_has_few_terms(weight, accumulator, terms):
    assert most_terms(Precision(FORMATS[weight], FORMATS[accumulator]), 10) == terms


def test_a_bound_out_of_reach_has_a_small_margin():
    target = limits_of(0.0, 1e-300, weight="float16").upper_target
    assert target == close_to(1e-300 * (1 - HALF) / (1 + 1.5 * 2.0**-11 * (1 + 2.0**-11)))


def test_bounds_are_compared_in_the_accumulator():
    """A bound between two numbers of float32: what is kept lies between them."""
    found = limits_of(0.1, 0.7, accumulator="float32", weight="float32")
    assert np.float32(found.lower) == found.lower > 0.1
    assert np.float32(found.upper) == found.upper < 0.7
    assert found.lower - 0.1 < 2.0**-27
    assert 0.7 - found.upper < 2.0**-24


@pytest.mark.parametrize(
    ("kind", "width"),
    [
        ({}, 16 * U),  # 7 + 1 roundoffs on both sides
        ({"entries": 2}, 18 * U),
        ({"entries": np.asarray([[1.0]])}, 98 * U),  # 48 + 1, the longest slice there is
    ],
)
def test_bounds_whose_margins_meet_are_one_point(kind, width):
    found = limits_of(1.0, 1 + width, **kind)
    steps = 8 if kind.get("entries") == 2 else 7
    middle = 1 + width / 2
    assert found.lower_target == found.upper_target == middle
    assert found.lower == 1 - (steps - 1) * U
    assert found.upper == (1 + width) * (1 + (steps - 1) * U)
    apart = limits_of(1.0, 1 + width + 2 * U, **kind)
    assert (apart.lower, apart.upper) == (1.0, 1 + width + 2 * U)
    assert apart.lower_target == 1 + steps * U


@pytest.mark.parametrize(
    ("weight", "margin"),
    [("float16", HALF + 2 * 2.0**-11), ("bfloat16", HALF + 2 * 2.0**-8)],
)
def test_rounded_results_have_wider_margins_that_meet(weight, margin):
    """Two roundoffs of the weight on both sides: one of storing is 1.5 u at most.

    What is kept is what a norm of 32 terms in float32 at a time may make of a result.
    """
    closest = 0.75 * (1 + margin) / (1 - margin)
    found = limits_of(0.75, closest * (1 - 1e-9), weight=weight)
    u, t = FORMATS[weight].roundoff, FORMATS[weight].smallest_normal
    middle = (0.75 + closest * (1 - 1e-9)) / 2
    band = HALF - U + u * (1 + u) * (1.5 - 0.5 / (1 + (t / middle) ** 2))
    assert found.lower_target == found.upper_target == close_to(middle)
    assert found.lower == close_to(0.75 * (1 - band))
    assert found.upper == close_to(closest * (1 - 1e-9) * (1 + band))
    apart = limits_of(0.75, closest * (1 + 1e-9), weight=weight)
    assert apart.upper == closest * (1 + 1e-9)
    assert apart.lower_target < apart.upper_target


def test_one_point_at_the_largest_number_stays_in_range():
    c = LARGEST["float64"]
    found = limits_of(c, c)
    assert (found.lower, found.upper) == (c * (1 - 6 * U), c)
    assert (found.lower_target, found.upper_target) == (c, c)
    unknown = limits_of(1.0, 1.0, entries=np.asarray([[1.0]]))
    assert unknown.upper == 1 + 6 * U


@pytest.mark.parametrize("weight", FORMATS)
def test_a_lower_bound_near_the_largest_number_keeps_what_falls_short(weight):
    """The target would be twice the margin away, where entries may leave the range."""
    u, c = FORMATS[weight].roundoff, LARGEST[weight]
    slack = {"float64": 7 * U, "float32": 4 * 2.0**-24 + ANY * U}.get(weight, HALF)
    margin = slack + (U if weight == "float64" else 2 * u)
    near, below = (c / (1 + 2 * margin) * (1 + side * U * 8) for side in (1, -1))
    t = FORMATS[weight].smallest_normal
    stored = u * (1 + u) * (1.5 - 0.5 / (1 + (t / near) ** 2)) if weight != "float64" else 0.0
    found = limits_of(near, math.inf, weight=weight)
    assert found.lower_target == near
    assert found.lower == close_to(near * (1 - slack - stored))
    assert near - found.lower == pytest.approx(near * (slack + stored), rel=0.1)
    assert found.upper == math.inf
    found = limits_of(below, math.inf, weight=weight)
    assert found.lower == below
    assert found.lower_target > below * (1 + slack / 2)


@pytest.mark.parametrize("weight", FORMATS)
def test_a_bound_above_the_largest_number_constrains_nothing(weight):
    largest = LARGEST[weight]
    above = math.nextafter(largest, math.inf)
    for lower, upper, expected in (
        (largest, largest, (largest, largest)),
        (1, 2, (1.0, 2.0)),
        (above, above, (0.0, math.inf)),
    ):
        assert sizes_of(lower, upper, weight=weight).interval[:2] == expected
    some = sizes_of(1, (2, above, largest), weight=weight, slices=3).interval
    assert some.lower == 1.0
    np.testing.assert_array_equal(some.upper, [[2.0, math.inf, largest]])


def test_a_lower_bound_at_the_largest_number_and_none_above():
    c = LARGEST["float64"]
    found = limits_of(c, math.inf)
    assert (found.lower_target, found.upper, found.upper_target) == (c, math.inf, math.inf)
    assert found.lower == c * (1 - 7 * U)


def test_each_slice_has_its_own_radius_in_the_order_of_c():
    found = limits_of(0.0, (1.0, math.inf, 0.0, 2.0), slices=4)
    np.testing.assert_array_equal(found.upper, [[1, math.inf, 0, 2]])
    np.testing.assert_array_equal(found.upper_target, [[1 - 7 * U, math.inf, 0, 2 - 14 * U]])


def test_whether_margins_meet_is_decided_for_each_slice():
    found = limits_of(1.0, (1.0, 3.0), slices=2)
    np.testing.assert_array_equal(found.lower, [[1 - 6 * U, 1.0]])
    np.testing.assert_array_equal(found.lower_target, [[1.0, 1 + 8 * U]])  # 1 + 7 u, to even
    np.testing.assert_array_equal(found.upper, [[1 + 6 * U, 3.0]])
