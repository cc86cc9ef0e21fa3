"""Parameters are judged at construction and stored as plain Python numbers."""

import math

import numpy as np
import pytest

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MaxNorm(-1), ValueError, r"max_value must be at least 0, got -1"),
        (lambda: MaxNorm(NAN), ValueError, r"max_value must be at least 0, got nan"),
        (lambda: MaxNorm("2"), TypeError, r"max_value must be a real number, got '2'"),
        (lambda: MaxNorm(None), TypeError, r"max_value must be a real number, got None"),
        (lambda: MaxNorm(True), TypeError, r"max_value must be a real number, got True"),
        (lambda: MaxNorm(1j), TypeError, r"max_value must be a real number, got 1j"),
        (
            lambda: MaxNorm(10**400),
            ValueError,
            r"max_value must be at least 0, got an int of 1329 bits",
        ),
        (lambda: MaxNorm(()), ValueError, r"max_value must hold at least one number, got \(\)"),
        (lambda: MaxNorm([1, -2]), ValueError, r"max_value\[1\] must be at least 0, got -2"),
        (lambda: MaxNorm([[1, 2]]), TypeError, r"max_value\[0\] must be a real number"),
        (lambda: MaxNorm(np.ones((2, 2))), TypeError, r"got an array of type ndarray"),
        (
            lambda: MinMaxNorm(-0.5),
            ValueError,
            r"min_value must be finite and at least 0, got -0.5",
        ),
        (
            lambda: MinMaxNorm(INF, INF),
            ValueError,
            r"min_value must be finite and at least 0, got inf",
        ),
        (
            lambda: MinMaxNorm(2, 1),
            ValueError,
            r"min_value must not exceed max_value, got 2 > 1",
        ),
        (lambda: MinMaxNorm(rate=1.5), ValueError, r"rate must be between 0 and 1, got 1.5"),
        (lambda: MinMaxNorm(rate=-1), ValueError, r"rate must be between 0 and 1, got -1"),
        (lambda: MinMaxNorm(rate=NAN), ValueError, r"rate must be between 0 and 1, got nan"),
        (lambda: MinMaxNorm([1.0]), TypeError, r"min_value must be a real number, got \[1.0\]"),
        (
            lambda: UnitNorm(True),
            TypeError,
            r"axis must be an int, a tuple or list of ints, or",
        ),
        (lambda: UnitNorm("0"), TypeError, r"axis must be an int.*got '0'"),
        (lambda: UnitNorm(1.0), TypeError, r"axis must be an int.*got 1.0"),
        (lambda: UnitNorm((0, False)), TypeError, r"axis must be an int.*got \(0, False\)"),
        (
            lambda: UnitNorm([1, 1]),
            ValueError,
            r"axis must name each dimension once, got \[1, 1",
        ),
        (lambda: UnitNorm([np.ones(3), 1]), TypeError, r"got an array of type ndarray"),
        (lambda: NonNeg(1), TypeError, r"positional argument"),
    ],
)
def test_nonsense_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        (MaxNorm(np.float32(1.5), np.int64(1)), {"max_value": 1.5, "axis": 1}),
        (MaxNorm(np.asarray(3)), {"max_value": 3, "axis": 0}),
        (MaxNorm(np.asarray([1.0, 2.0])), {"max_value": (1.0, 2.0), "axis": 0}),
        (MaxNorm(axis=np.int8(-1)), {"max_value": 2, "axis": -1}),
        (UnitNorm([np.int32(0), 2]), {"axis": (0, 2)}),
        (UnitNorm(()), {"axis": ()}),
        (
            MinMaxNorm(np.float64(0.25), INF, np.float16(0.5), None),
            {"min_value": 0.25, "max_value": INF, "rate": 0.5, "axis": None},
        ),
    ],
    ids=lambda value: repr(value) if not isinstance(value, dict) else "",
)
def test_numbers_are_stored_as_plain_python(constraint, fields):
    assert vars(constraint) == fields
    for value in vars(constraint).values():
        entries = value if isinstance(value, tuple) else (value,)
        assert all(type(entry) in (int, float, type(None)) for entry in entries)


def test_the_callers_list_is_not_kept():
    axis = [0, 1]
    constraint = UnitNorm(axis)
    axis.append(2)
    assert constraint.axis == (0, 1)


def test_defaults_are_those_of_keras():
    assert MaxNorm() == MaxNorm(max_value=2, axis=0)
    assert MinMaxNorm() == MinMaxNorm(min_value=0.0, max_value=1.0, rate=1.0, axis=0)
    assert UnitNorm() == UnitNorm(axis=0)
