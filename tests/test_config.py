"""Configs: every dialect of Keras, round trips, and names that must not be confused."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import array_constraints as ac
from array_constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.config import registry

FORMS = json.loads((Path(__file__).parent / "data" / "config_forms.json").read_text())


@pytest.fixture(autouse=True)
def registered():
    """A registered class for the forms that need one; the registry is left as it was."""
    before = dict(registry._registered)

    @ac.register(package="acdemo")
    class Clip(Constraint):
        def __init__(self, lo, hi):
            self.lo, self.hi = lo, hi

        def __call__(self, w):
            return w.clip(self.lo, self.hi)

        def get_config(self):
            return {"lo": self.lo, "hi": self.hi}

    yield Clip
    registry._registered.clear()
    registry._registered.update(before)


def test_there_are_35_forms():
    assert len(FORMS) == 35


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form["id"])
def test_every_form_reads_as_expected(form):
    if form["error"]:
        with pytest.raises(
            {"ValueError": ValueError, "TypeError": TypeError}[form["error"].split()[0]]
        ):
            ac.get(form["input"])
        return
    constraint = ac.get(form["input"])
    expected = form["expect"]
    assert type(constraint).__name__ == expected["class_name"].rpartition(">")[2]
    if expected["config"] == "defaults":
        assert constraint == type(constraint)()
    else:
        written = constraint.get_config()
        restored = {name: math.inf if v == "inf" else v for name, v in written.items()}
        assert restored == expected["config"]


axes = st.none() | st.integers(-4, 4) | st.lists(st.integers(-4, 4), unique=True, max_size=3)
positive = st.floats(0, allow_nan=False) | st.integers(0, 10**6)
finite = st.floats(0, allow_nan=False, allow_infinity=False)
constraints = (
    st.builds(MaxNorm, positive | st.lists(positive, min_size=1, max_size=3), axes)
    | st.builds(UnitNorm, axes)
    | st.just(NonNeg())
    | st.just(ac.RadialConstraint())
    | st.tuples(finite, positive, st.floats(0, 1), axes)
    .filter(lambda p: p[0] <= p[1])
    .map(lambda p: MinMaxNorm(*p))
)


@given(constraint=constraints)
def test_strict_json_and_pickle_give_an_equal_constraint(constraint):
    text = json.dumps(ac.serialize(constraint), allow_nan=False)
    assert ac.deserialize(json.loads(text)) == constraint
    assert ac.get(json.loads(text)) == constraint
    assert type(constraint).from_config(constraint.get_config()) == constraint
    assert pickle.loads(pickle.dumps(constraint)) == constraint
    assert eval(repr(constraint), {**vars(ac), "inf": math.inf}) == constraint


def has_keras_form(constraint):
    per_slice = isinstance(getattr(constraint, "max_value", 0), tuple)
    return constraint != ac.RadialConstraint() and not per_slice


@given(constraint=constraints.filter(has_keras_form))
def test_the_keras_dialect_reads_back_too(constraint):
    text = json.dumps(ac.serialize(constraint, dialect="keras"))
    assert ac.deserialize(json.loads(text)) == constraint


def test_our_dialect_never_uses_a_bare_name():
    for name in ("module", "class_name", "registered_name"):
        assert "array_constraints" in ac.serialize(MaxNorm())[name]


class TestRegistered:
    def test_round_trip(self, registered):
        text = json.dumps(ac.serialize(registered(-1, 1)))
        clip = ac.deserialize(json.loads(text))
        assert type(clip) is registered
        assert clip.get_config() == {"lo": -1, "hi": 1}
        assert ac.serialize(clip, dialect="keras")["registered_name"] == "acdemo>Clip"

    def test_the_same_class_may_be_registered_again(self, registered):
        assert ac.register(package="acdemo")(registered) is registered

    def test_another_class_may_not_take_the_name(self, registered):
        with pytest.raises(ValueError, match="'acdemo>Clip' is already registered, for"):
            ac.register(package="acdemo", name="Clip")(type("Other", (Constraint,), {}))

    @pytest.mark.parametrize("package", ["array_constraints", "", "a>b"])
    def test_some_packages_are_refused(self, package):
        with pytest.raises(ValueError, match="package"):
            ac.register(package=package)(type("Mine", (Constraint,), {}))

    def test_only_constraints_are_registered(self):
        for wrong in (print, int, MaxNorm()):
            with pytest.raises(TypeError, match="register takes a subclass of Constraint"):
                ac.register(package="p")(wrong)

    def test_an_unregistered_class_cannot_be_serialised(self):
        class Mine(Constraint):
            pass

        with pytest.raises(ValueError, match="Mine is not registered"):
            ac.serialize(Mine())

    def test_custom_objects_are_read(self):
        class Mine(Constraint):
            pass

        for written in (
            {"class_name": "Mine"},
            {"class_name": "x", "registered_name": "p>Mine"},
        ):
            names = {"Mine": Mine, "p>Mine": Mine}
            assert type(ac.deserialize(written, custom_objects=names)) is Mine

    def test_texts_and_nested_values_come_back_as_they_were(self):
        @ac.register(package="acdemo")
        @dataclasses.dataclass(frozen=True)
        class Mine(Constraint):
            order: str = "inf"
            bound: float = 1.0
            table: dict | None = None

        written = Mine("inf", math.inf, {"a": [1.0, math.inf]})
        text = json.dumps(ac.serialize(written), allow_nan=False)
        read = ac.deserialize(json.loads(text))
        assert (read.order, read.bound, read.table) == ("inf", math.inf, {"a": (1.0, math.inf)})

    def test_custom_objects_are_classes(self):
        with pytest.raises(TypeError, match="custom_objects must name classes"):
            ac.deserialize({"class_name": "Mine"}, custom_objects={"Mine": len})

    def test_arguments_without_get_config_say_so(self):
        class Scale(Constraint):
            def __init__(self, k):
                self.k = k

        with pytest.raises(
            TypeError, match="Scale has constructor arguments but no get_config"
        ):
            Scale(2).get_config()


class TestRefused:
    @pytest.mark.parametrize(
        ("written", "message"),
        [
            ({"class_name": "Bogus"}, "unknown constraint 'Bogus': known are"),
            ({"class_name": "MaxNorm", "module": "os"}, "of module 'os'"),
            ({"class_name": "MaxNorm", "module": "acproto"}, "register its class"),
            (
                {"class_name": "MaxNorm", "registered_name": "p>MaxNorm"},
                "is not the MaxNorm of this library",
            ),
            ({"class_name": "p>MaxNorm"}, "is not the MaxNorm of this library"),
            ({"class_name": "__lambda__", "config": {"value": "x"}}, "unknown constraint"),
            ({"class_name": "system", "module": "os"}, "unknown constraint 'system'"),
            ({"class_name": 3}, "'class_name' must be a string, got 3"),
            ({"class_name": "MaxNorm", "module": 3}, "'module' must be a string, got 3"),
            (
                {"class_name": "MaxNorm", "config": [2]},
                "'config' must be a dictionary, got list",
            ),
            ({"config": {}}, "a config names its class by 'class_name', got keys"),
            ({}, "a config names its class by 'class_name'"),
            ({1: 2, "a": 3}, "a config names its class by 'class_name', got keys"),
            ({"className": "MaxNorm", "config": {1: 2}}, "must have strings as keys"),
            ({"name": "MaxNorm", "m": 2, "max_value": 3}, "names a parameter twice"),
            (
                {"class_name": "UnitNorm", "registered_name": "array_constraints>MaxNorm"},
                "contradict",
            ),
            (
                {"class_name": "MaxNorm", "config": {"max_value": {"class_name": "__numpy__"}}},
                "an array in a config has a 'value'",
            ),
        ],
    )
    def test_malformed_and_foreign_configs(self, written, message):
        with pytest.raises(ValueError, match=message):
            ac.deserialize(written)

    def test_only_modules_of_this_package_have_its_classes(self):
        written = {"class_name": "MaxNorm", "registered_name": "array_constraints>MaxNorm"}
        for module in ("array_constraints", "array_constraints.sets.norms", None):
            assert ac.deserialize({**written, "module": module}) == MaxNorm()
        for module in ("array_constraints_too", "mine.array_constraints", ""):
            with pytest.raises(ValueError, match="is not the MaxNorm of this library"):
                ac.deserialize({**written, "module": module})

    def test_parameters_of_the_wrong_name_or_value(self):
        with pytest.raises(TypeError, match="unexpected keyword argument 'm'"):
            ac.deserialize({"class_name": "MaxNorm", "config": {"m": 3}})
        with pytest.raises(ValueError, match="max_value must be at least 0, got -1"):
            ac.deserialize({"class_name": "MaxNorm", "config": {"max_value": -1}})
        with pytest.raises(TypeError, match="max_value must be a real number"):
            ac.deserialize({"class_name": "MaxNorm", "config": {"max_value": {"a": 1}}})

    def test_what_names_no_constraint(self):
        for wrong in (3, 2.5, [MaxNorm()], b"max_norm", int):
            with pytest.raises(ValueError, match="a constraint is None, a name, config"):
                ac.get(wrong)
        with pytest.raises(ValueError, match="a config is a dictionary, got list"):
            ac.deserialize([])

    def test_what_cannot_be_serialised(self):
        with pytest.raises(
            TypeError, match="serialize takes a Constraint or None, got function"
        ):
            ac.serialize(lambda w: w)
        with pytest.raises(ValueError, match="dialect must be 'array_constraints' or 'keras'"):
            ac.serialize(MaxNorm(), dialect="tfjs")
        with pytest.raises(ValueError, match="Keras has no radius per slice"):
            ac.serialize(MaxNorm((1.0, 2.0)), dialect="keras")
        with pytest.raises(ValueError, match="Keras 3 has no RadialConstraint"):
            ac.serialize(ac.RadialConstraint(), dialect="keras")


def test_get_passes_through_what_keras_does():
    assert ac.get(None) is None
    assert ac.deserialize(None) is None
    assert ac.serialize(None) is None
    assert ac.get(np.abs) is np.abs
    c = MaxNorm(3)
    assert ac.get(c) is c
    assert ac.get(MaxNorm) == MaxNorm()
    assert type(ac.get("constraint")) is Constraint
    assert ac.get("array_constraints>UnitNorm") == UnitNorm()


def test_null_axis_is_the_whole_array_but_in_tensorflow_js():
    assert ac.get({"class_name": "MaxNorm", "config": {"axis": None}}).axis is None
    assert ac.get({"className": "MaxNorm", "config": {"axis": None}}).axis == 0


def nested(kind, depth):
    value = 1
    for _ in range(depth):
        value = {"list": [value], "tuple": (value,), "dict": {"a": value}}[kind]
    return value


class TestNested:
    @pytest.mark.parametrize("depth", [70, 600, 20_000])
    @pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
    def test_any_depth_is_an_error_that_says_so(self, kind, depth):
        deep = nested(kind, depth)
        for written in (
            {"class_name": "MaxNorm", "config": {"axis": deep}},
            {"class_name": deep},
            {"class_name": "MaxNorm", "config": deep},
            {"class_name": "MaxNorm", "module": deep},
            {"className": "MaxNorm", "config": {"maxValue": deep}},
            {"name": "MaxNorm", "m": deep},
            {"name": "MaxNorm", "config": deep},
            {"class_name": "MaxNorm", "config": {"max_value": [1.0, deep]}},
            {"class_name": "acdemo>Clip", "config": {"lo": deep, "hi": 1}},
        ):
            for read in (ac.get, ac.deserialize):
                with pytest.raises(ValueError, match="nested more than 64 levels deep"):
                    read(written)
        with pytest.raises(ValueError, match="levels deep"):
            MaxNorm.from_config({"axis": deep})
        for read in (ac.get, ac.deserialize, MaxNorm):
            with pytest.raises((ValueError, TypeError)):
                read(deep)
        with pytest.raises(TypeError, match="axis must be an int"):
            MaxNorm(axis=deep)

    def test_a_list_that_holds_itself_is_an_error(self):
        endless = []
        endless.append(endless)
        with pytest.raises(ValueError, match="levels deep"):
            ac.get({"class_name": "MaxNorm", "config": {"axis": endless}})

    def test_values_of_ordinary_depth_are_read(self, registered):
        deep = nested("list", 20)
        clip = ac.get({"class_name": "acdemo>Clip", "config": {"lo": deep, "hi": 1}})
        assert clip.lo == deep


def marked(items, kind="__tuple__"):
    """What TensorFlow's encoder writes for a tuple or a TensorShape."""
    return {"class_name": kind, "items": items}


def array(value, kind="__numpy__"):
    return {"class_name": kind, "config": {"value": value, "dtype": "int64"}}


class TestTuples:
    @pytest.mark.parametrize("cls", [MaxNorm, UnitNorm, MinMaxNorm])
    @pytest.mark.parametrize(
        ("axis", "expected"),
        [
            (marked([0, 1]), (0, 1)),
            (marked((0, 1)), (0, 1)),
            (marked([]), ()),
            (marked([0, 1], "TensorShape"), (0, 1)),
            (array([0, 1]), (0, 1)),
            (array([0, 1], "__tensor__"), (0, 1)),
            (array(1), 1),
            (array(marked([0, 1])), (0, 1)),
            (marked([array(0), array(1)]), (0, 1)),
            ({"className": "__tuple__", "items": [0, 1]}, (0, 1)),
        ],
    )
    def test_an_axis_is_read(self, cls, axis, expected):
        for written in (
            {"class_name": cls.__name__, "config": {"axis": axis}},
            {"class_name": cls.__name__, "config": {"axis": axis}, "shared_object_id": 3},
            {"className": cls.__name__, "config": {"axis": axis}},
            {"name": cls.__name__, "axis": axis},
        ):
            assert ac.get(written).axis == expected
        assert cls.from_config({"axis": axis}).axis == expected

    def test_radii_are_read(self):
        written = {"class_name": "MaxNorm", "config": {"max_value": marked([1.0, "inf"])}}
        assert ac.get(written) == MaxNorm((1.0, math.inf))

    def test_classes_of_ones_own_get_tuples_too(self, registered):
        config = {"lo": marked([1, [marked([2])]]), "hi": {"a": marked([3])}}
        clip = ac.get({"class_name": "acdemo>Clip", "config": config})
        assert (clip.lo, clip.hi) == ((1, [(2,)]), {"a": (3,)})

    @pytest.mark.parametrize("items", [None, 3, "01", {"0": 1}])
    @pytest.mark.parametrize("kind", ["__tuple__", "TensorShape"])
    def test_malformed_ones_are_named(self, kind, items):
        with pytest.raises(
            ValueError, match=f"a {kind} in a config has a list of 'items', got"
        ):
            ac.get({"class_name": "MaxNorm", "config": {"axis": marked(items, kind)}})
        with pytest.raises(ValueError, match="list of 'items', got NoneType"):
            ac.get({"class_name": "MaxNorm", "config": {"axis": {"class_name": kind}}})
        with pytest.raises(TypeError, match="axis must be"):
            ac.get({"class_name": "MaxNorm", "config": {"axis": marked([None, "x"])}})

    def test_a_tuple_names_no_constraint(self):
        with pytest.raises(ValueError, match="unknown constraint '__tuple__'"):
            ac.get(marked([0, 1]))

    def test_what_the_encoder_of_keras_writes_is_read(self):
        json_utils = pytest.importorskip("keras.src.legacy.saving.json_utils")
        for axis in ((0, 1), [0, 1], np.asarray([0, 1])):
            written = {"class_name": "MaxNorm", "config": {"max_value": 2, "axis": axis}}
            text = json_utils.Encoder().encode(written)
            assert ac.get(json.loads(text)) == MaxNorm(2, axis=(0, 1))

    def test_what_keras_writes_for_tuples_and_arrays_is_read(self):
        keras = pytest.importorskip("keras")
        for value in ((0, 1), np.asarray([0, 1])):
            config = {"max_value": 2, "axis": keras.saving.serialize_keras_object(value)}
            text = json.dumps({"class_name": "MaxNorm", "config": config})
            assert ac.get(json.loads(text)) == MaxNorm(2, axis=(0, 1))
