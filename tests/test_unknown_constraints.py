"""Functions, unknown classes and wrong values in saved models: refused, and never run."""

from __future__ import annotations

import math

import pytest
from saved_models import FORMS, net, saved

from array_constraints import Constraint
from array_constraints.config import read_constraints

keras = pytest.importorskip("keras")
layers = keras.layers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")


class TestUnknown:
    @pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
    @pytest.mark.parametrize("form", FORMS)
    def test_functions_in_models_of_keras_are_refused_and_never_run(self, form, tmp_path):
        dense = layers.Dense(2, kernel_constraint=lambda w: w, name="dense")
        path = saved(keras.Sequential([keras.Input((3,)), dense]), form, tmp_path)
        message = "'dense/kernel_constraint': is a function, which is never run from a file"
        with pytest.raises(ValueError, match=message):
            read_constraints(path)

    @pytest.mark.parametrize(
        "function",
        [
            {"class_name": "__lambda__", "config": {"value": "4wEAAAA=", "defaults": None}},
            {"class_name": "function", "config": "f", "module": "builtins"},
            "<lambda>",
        ],
    )
    def test_functions_are_refused_in_every_dialect(self, function, tmp_path):
        config = {"name": "a", "kernel_constraint": function}
        with pytest.raises(ValueError, match="'a/kernel_constraint': is a function"):
            read_constraints(net(tmp_path, config))

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"class_name": "p>Mine", "config": {}}, "unknown constraint 'p>Mine': known are"),
            ("mine", "unknown constraint 'mine': known are .*; register its class, or pass it"),
            (
                {"class_name": "MaxNorm", "module": "mine", "config": {}},
                "'MaxNorm' of module 'mine' .* is not the MaxNorm .*: register its class",
            ),
            ({"class_name": "MaxNorm", "config": {"max_value": -1}}, "max_value must be at"),
            ({"name": "MaxNorm", "axis": 0, "m": math.nan}, "max_value must be at"),
        ],
    )
    def test_classes_and_values_are_refused_with_their_place(self, config, message, tmp_path):
        path = net(tmp_path, {"name": "a", "kernel_constraint": config})
        with pytest.raises(ValueError, match=f"net.json: 'a/kernel_constraint': {message}"):
            read_constraints(path)

    def test_parameters_of_another_class_are_refused_with_their_place(self, tmp_path):
        config = {"class_name": "MaxNorm", "config": {"m": 3}}
        path = net(tmp_path, {"name": "a", "kernel_constraint": config})
        with pytest.raises(TypeError, match=r"net\.json: 'a/kernel_constraint': .*'m'"):
            read_constraints(path)

    def test_classes_may_be_given(self, tmp_path):
        class Mine(Constraint):
            pass

        for config in ({"class_name": "p>Mine", "config": {}}, "Mine"):
            path = net(tmp_path, {"name": "a", "kernel_constraint": config})
            found = read_constraints(path, custom_objects={"p>Mine": Mine, "Mine": Mine})
            assert type(found["a/kernel_constraint"]) is Mine

    def test_long_and_odd_names_are_cut_and_escaped(self, tmp_path):
        path = net(tmp_path, {"name": "\x1b" + "a" * 10_000, "kernel_constraint": "mine"})
        with pytest.raises(ValueError, match=r"'\\x1baaa") as caught:
            read_constraints(path)
        assert len(str(caught.value)) < 2000
