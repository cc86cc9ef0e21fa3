"""Parameters are judged at construction and stored as plain Python numbers, or read so."""

import dataclasses
import enum
import functools
import math
import re
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, Sphere, UnitNorm
from array_constraints.libraries.state import data_of, state_of, structure_of
from array_constraints.parameters import judge_depth, number_from_text
from array_constraints.typing import Bound

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
        (lambda: MaxNorm(-int(sys.float_info.max)), ValueError, r"at least 0, got -1797693"),
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
        (
            lambda: MinMaxNorm(["1"]),
            TypeError,
            r"min_value\[0\] must be a real number, got '1'",
        ),
        (lambda: MinMaxNorm([2.0, 1.0], 1.5), ValueError, "got 2.0 > 1.5"),
        (lambda: MinMaxNorm([1, 2], [3, 4, 5]), ValueError, "2 entries, and max_value 3"),
        (
            lambda: MinMaxNorm([math.inf], math.inf),
            ValueError,
            r"min_value\[0\] must be finite",
        ),
        (lambda: MaxNorm(unit="max"), ValueError, "unit must be 'norm' or 'rms', got 'max'"),
        (lambda: MaxNorm(unit=2), TypeError, "unit must be 'norm' or 'rms', got 2"),
        (lambda: MaxNorm(order=3), ValueError, "order must be 1, 2 or inf, got 3"),
        (lambda: MaxNorm(order=True), TypeError, "order must be 1, 2 or inf, got True"),
        (lambda: MaxNorm(order=1, unit="rms"), ValueError, "unit must be 'norm' where order"),
        (lambda: Sphere(math.inf), ValueError, "radius must be finite and at least 0, got inf"),
        (lambda: Sphere([1.0, -1.0]), ValueError, r"radius\[1\] must be finite and at least 0"),
        (
            lambda: UnitNorm(True),
            TypeError,
            r"axis must be an int, a tuple or list of ints, None, or 'incoming', got",
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
    ("make", "fields"),
    [
        (lambda: MaxNorm(np.float32(1.5), np.int64(1)), {"max_value": 1.5, "axis": 1}),
        (lambda: MaxNorm(np.asarray(3)), {"max_value": 3, "axis": 0}),
        (lambda: MaxNorm(np.asarray([1.0, 2.0])), {"max_value": (1.0, 2.0), "axis": 0}),
        (lambda: MaxNorm(axis=np.int8(-1)), {"max_value": 2, "axis": -1}),
        (lambda: UnitNorm([np.int32(0), 2]), {"axis": (0, 2)}),
        (lambda: UnitNorm(()), {"axis": ()}),
        (
            lambda: MinMaxNorm(np.float64(0.25), INF, np.float16(0.5), None),
            {"min_value": 0.25, "max_value": INF, "rate": 0.5, "axis": None},
        ),
    ],
)
def test_numbers_are_stored_as_plain_python(make, fields):
    constraint = make()
    given = {name: vars(constraint)[name] for name in fields}
    assert given == fields
    assert set(vars(constraint)) - set(fields) <= {"unit", "order"}
    for value in given.values():
        entries = value if isinstance(value, tuple) else (value,)
        assert all(type(entry) in (int, float, type(None)) for entry in entries)


def test_a_bound_of_minus_0_is_0():
    assert repr(MaxNorm(-0.0)) == "MaxNorm(max_value=0.0, axis=0)"


def test_the_callers_list_is_not_kept():
    axis = [0, 1]
    constraint = UnitNorm(axis)
    axis.append(2)
    assert constraint.axis == (0, 1)


def test_defaults_are_those_of_keras():
    assert MaxNorm() == MaxNorm(max_value=2, axis=0)
    assert MinMaxNorm() == MinMaxNorm(min_value=0.0, max_value=1.0, rate=1.0, axis=0)
    assert UnitNorm() == UnitNorm(axis=0)


class TestAxes:
    """They are counted from the front or from the back, and fit the array or say so."""

    W = np.arange(1.0, 25.0).reshape(2, 3, 4)

    @pytest.mark.parametrize("axis", [0, 1, 2, (0, 1), (2, 0), (0, 1, 2)])
    def test_a_dimension_has_two_names(self, axis):
        names = (axis,) if isinstance(axis, int) else axis
        norms = np.sqrt((self.W**2).sum(axis=axis, keepdims=True))
        for back in (tuple(i - 3 for i in names), (names[0] - 3, *names[1:])):
            for found in (axis, back if len(back) > 1 else back[0]):
                np.testing.assert_allclose(UnitNorm(found)(self.W), self.W / norms, rtol=1e-14)

    @pytest.mark.parametrize("axis", [3, 4, -4, -5, (0, 3), (1, -4)])
    def test_others_do_not_fit(self, axis):
        expected = f"UnitNorm: axis {axis} does not fit an array of 3 dimensions"
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            UnitNorm(axis)(self.W)

    def test_an_array_of_no_dimensions_is_a_slice(self):
        assert UnitNorm(None)(np.asarray(3.0)) == 1
        with pytest.raises(ValueError, match=r"of 0 dimensions \(a 0-d array is one"):
            UnitNorm(0)(np.asarray(3.0))

    def test_two_names_of_one_dimension_are_refused(self):
        with pytest.raises(ValueError, match=r"axis \(0, -3\) names a dimension of 3 twice"):
            UnitNorm((0, -3))(self.W)


class TestTexts:
    """A number in a file or a command is read as Python would read it, or refused by name."""

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("3", 3),
            ("-12", -12),
            ("+007", 7),
            ("3.", 3.0),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("-2.5E-1", -0.25),
            ("inf", INF),
            ("-Infinity", -INF),
        ],
    )
    def test_are_numbers(self, text, value):
        found = number_from_text(text)
        assert repr(found) == repr(value)  # of the same types, too

    def test_may_be_nan(self):
        assert math.isnan(number_from_text("NaN"))

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            *((text, text) for text in ("", "x", "zero", "1_000", "0x10", "1e", "--1", "1 2")),
            ("x" * 39, "x" * 39),
            ("x" * 40, "x" * 40),
            ("x" * 41, "x" * 37 + "..."),
            ("x" * 42, "x" * 37 + "..."),
        ],
    )
    def test_others_are_refused(self, text, part):
        with pytest.raises(ValueError, match=f"^{re.escape(repr(part))} is not a number$"):
            number_from_text(text)

    @pytest.mark.parametrize(
        "text", ["1e309", "-1e999", *("9" * n for n in (309, 350, 401, 9000))]
    )
    def test_beyond_the_range_infinity_is_not_meant(self, text):
        with pytest.raises(ValueError, match="is beyond the range of numbers: write inf"):
            number_from_text(text)


@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
def test_a_config_holds_64_levels(kind):
    wrap = {"list": lambda v: [v], "tuple": lambda v: (v,), "dict": lambda v: {"a": v}}[kind]
    value = functools.reduce(lambda value, _: wrap(value), range(64), 1)
    judge_depth({"axis": value})
    with pytest.raises(ValueError, match="nested more than 64 levels deep"):
        judge_depth({"axis": wrap(value)})


class TestJax:
    """A bound that is traced has no value to be judged, but a dtype and a number of entries."""

    @pytest.mark.parametrize("shape", [(), (4,)])
    @pytest.mark.parametrize("dtype", ["float32", "int32", "bfloat16"])
    def test_traced_numbers_of_jax_are_kept(self, shape, dtype):
        jax = pytest.importorskip("jax")

        def kept(m):
            assert MaxNorm(m).max_value is m
            assert shape or MinMaxNorm(0, m, m) == MinMaxNorm(0, m, m)

        jax.eval_shape(kept, jax.ShapeDtypeStruct(shape, dtype))

    @pytest.mark.parametrize("shape", [(), (4,)])
    @pytest.mark.parametrize("dtype", ["bool", "complex64"])
    def test_others_of_jax_are_not_real(self, shape, dtype):
        jax = pytest.importorskip("jax")
        with pytest.raises(TypeError, match="real number, got a traced one of dtype"):
            jax.eval_shape(MaxNorm, jax.ShapeDtypeStruct(shape, dtype))

    def test_tables_and_rates_of_jax_are_refused(self):
        jax = pytest.importorskip("jax")
        for make, shape in (
            (MaxNorm, (2, 4)),
            (lambda m: MinMaxNorm(0, m), (2, 4)),
            (lambda m: MinMaxNorm(rate=m), (1,)),
        ):
            with pytest.raises(TypeError, match="must be a real number, got an array of type"):
                jax.eval_shape(make, jax.ShapeDtypeStruct(shape, "float32"))


class TestTorch:
    """While ``torch.compile`` traces, a bound is a number or a tensor that has no value yet."""

    def test_graphs_of_torch_serve_all_bounds(self):
        torch = pytest.importorskip("torch")
        from torch._dynamo.testing import CompileCounter

        torch._dynamo.reset()
        counter = CompileCounter()
        scaled = torch.compile(
            lambda w, m: w * MaxNorm(m).max_value, backend=counter, fullgraph=True
        )
        for bound in (0.5, 0.75, 1.25, 1e3):  # one graph for the first, one for the others
            assert scaled(torch.ones(2), bound).tolist() == [bound, bound]
        assert counter.frame_count == 2
        for bound in (torch.tensor(0.5), torch.tensor([0.5, 2.0])):
            assert torch.equal(scaled(torch.ones(2), bound), torch.ones(2) * bound)

    @pytest.mark.parametrize("bound", [True, 1j])
    def test_others_of_torch_are_not_real(self, bound):
        torch = pytest.importorskip("torch")
        torch._dynamo.reset()
        made = torch.compile(lambda w, m: (MaxNorm(m), w + 1)[1], backend="eager")
        for m in (bound, torch.tensor(bound)):
            with pytest.raises(TypeError, match="max_value must be a real number"):
                made(torch.ones(2), m)


def frozen(**fields: Any) -> Any:
    """Return a frozen dataclass of these fields; ``size`` is a bound."""
    types = [(name, Bound if name == "size" else Any) for name in fields]
    return dataclasses.make_dataclass("Own", types, frozen=True)(**fields)


class TestStructure:
    """What tells one compiled program from another: all of a form but its bounds."""

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (MaxNorm(1.0), MaxNorm(2)),
            (MaxNorm(1.0), MaxNorm((1.0, 2.0))),
            (MinMaxNorm(0.0, 1.0, 0.5), MinMaxNorm(1.0, INF, 1)),
            (NonNeg(), NonNeg()),
            (None, None),
        ],
    )
    def test_forms_that_differ_in_bounds_alone_share_it(self, one, other):
        (structure, bounds), (same, others) = structure_of(one), structure_of(other)
        assert structure == same
        assert hash(structure) == hash(same)
        assert structure.with_bounds(others) == other
        assert same.with_bounds(bounds) == one
        assert structure.with_bounds({}) is one

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (MaxNorm(1.0, 0), MaxNorm(1.0, 1)),
            (UnitNorm(0), UnitNorm((0,))),
            (UnitNorm(0), NonNeg()),
            (NonNeg(), None),
        ],
    )
    def test_others_do_not(self, one, other):
        (structure, _), (another, _) = structure_of(one), structure_of(other)
        assert structure != another
        assert another != structure
        assert structure != structure.key

    def test_a_bound_is_a_number_or_some_of_them_in_a_field_of_that_type(self):
        assert structure_of(MaxNorm(3, 1))[1] == {"max_value": 3}
        assert structure_of(MaxNorm((1, 2.5)))[1] == {"max_value": (1, 2.5)}
        for size, bounds in ((0.5, {"size": 0.5}), (None, {}), (True, {}), ((1, "x"), {})):
            assert structure_of(frozen(size=size, power=2))[1] == bounds
        assert structure_of(frozen(size=None)) != structure_of(frozen(size=True))

    def test_data_are_the_arrays(self):
        size = np.asarray(1.5)
        assert data_of(frozen(size=size, power=2)) == {"size": size}
        assert data_of(frozen(size=np.float64(1.5), power=2.0)) == {}
        assert data_of("no dataclass") == {}


class Norm(enum.Enum):
    EUCLIDEAN = 2


class Changing(Fraction):
    """A number that anything can be added to."""


@dataclasses.dataclass(frozen=True)
class Cached:
    """A form that computes something of its fields once."""

    power: int

    @functools.cached_property
    def doubled(self) -> int:
        return 2 * self.power

    @functools.cached_property
    def listed(self) -> list[int]:
        return [self.power]


class TestForms:
    """A form never changes if it is a frozen dataclass whose fields never do."""

    @pytest.mark.parametrize(
        "value",
        [1, True, 1.0, 1j, "1", b"1", None, (1, (2.0, None)), np.float32(1), Fraction(1),
         Norm.EUCLIDEAN, MaxNorm(1.0)],
    )  # fmt: skip
    def test_of_plain_values_never_change(self, value):
        form = frozen(power=value)
        assert state_of(form) == state_of(dataclasses.replace(form))
        assert state_of(form) is not None
        assert structure_of(form) == structure_of(dataclasses.replace(form))
        assert structure_of(form) is not None

    def test_of_other_values_differ(self):
        values = [1, True, 1.0, np.float32(1), "1", (1,), 0.0, -0.0]
        assert len({state_of(frozen(power=value))[1:] for value in values}) == len(values)

    @pytest.mark.parametrize(
        "value", [[1], (1, [2]), {}, np.ones(1), Changing(1), frozen(power=[1]), object()]
    )
    def test_of_values_that_may_change_may_change(self, value):
        assert state_of(frozen(power=value)) is None
        assert structure_of(frozen(power=value)) is None
        assert structure_of(frozen(size=value)) is None

    def test_of_other_classes_may_change(self):
        class Derived(type(frozen(power=1))):
            pass

        for options in ({}, {"frozen": True, "eq": False}):
            assert state_of(dataclasses.make_dataclass("Own", ["a"], **options)(1)) is None
        for form in (Derived(1), object(), len):
            assert state_of(form) is None
            assert structure_of(form) is None

    def test_may_keep_what_they_compute_once_but_nothing_else(self):
        form = Cached(3)
        state = state_of(form)
        assert form.doubled == 6
        assert state_of(form) == state == state_of(Cached(3)) != state_of(Cached(4))
        assert structure_of(form) == structure_of(Cached(3))
        assert form.listed == [3]  # which may change
        assert state_of(form) is None
        form = Cached(3)
        vars(form)["other"] = 1
        assert state_of(form) is None
        assert structure_of(form) is None
