"""Constraints in saved models without Keras: of all versions, and under which path."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from saved_models import net, sequential, written

import array_constraints as ac
from array_constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.config import read_constraints, registry

STORED = Path(__file__).parent / "data" / "models"


@pytest.fixture(autouse=True)
def clip():
    """A registered class for the files that need one; the registry is left as it was."""
    before = dict(registry._registered)

    @ac.register(package="acdemo")
    class Clip(Constraint):
        def __init__(self, lo, hi):
            self.lo, self.hi = lo, hi

        def get_config(self):
            return {"lo": self.lo, "hi": self.hi}

    yield Clip
    registry._registered.clear()
    registry._registered.update(before)


EXPECTED = {
    "keras_1_sequential": {
        "merge_1/sequential/embedding_1/W_constraint": UnitNorm(),
        "merge_1/sequential/lstm_1/W_constraint": MaxNorm(),
        "merge_1/sequential/lstm_1/U_constraint": NonNeg(),
        "timedistributed_1/dense_1/W_constraint": MaxNorm(2),
        "dense_2/W_constraint": MinMaxNorm(0.0, 1.0, 0.5),
        "dense_2/b_constraint": NonNeg(),
    },
    "keras_2_functional": {
        "bidirectional/lstm/kernel_constraint": MaxNorm(2),
        "bidirectional/lstm/recurrent_constraint": NonNeg(),
        "rnn/stacked_rnn_cells/lstm_cell/kernel_constraint": MaxNorm(),
        "rnn/stacked_rnn_cells/gru_cell/recurrent_constraint": UnitNorm(axis=1),
        "sequential/conv1d/kernel_constraint": MinMaxNorm(0.5, math.inf, 1.0, (0, 1)),
    },
    "tensorflow_js_converted": {
        "dense/kernel_constraint": MaxNorm(2),
        "dense/bias_constraint": NonNeg(),
    },
    "tensorflow_js_saved": {"dense_Dense1/kernel_constraint": MinMaxNorm(0, 1, 1)},
}


@pytest.mark.parametrize("suffix", [".json", ".h5", ".hdf5", ".keras"])
@pytest.mark.parametrize("name", EXPECTED)
def test_stored_models_of_older_versions(name, suffix, tmp_path, clip):
    text = (STORED / f"{name}.json").read_bytes()
    found = read_constraints(written(text, tmp_path / f"model{suffix}"))
    own = found.pop("sequential/time_distributed/dense/bias_constraint", None)
    assert found == EXPECTED[name]
    if name == "keras_2_functional":
        assert type(own) is clip
        assert (own.lo, own.hi) == (-1, 1)


def test_every_stored_model_is_tested():
    assert {path.stem for path in STORED.iterdir()} == EXPECTED.keys()


class TestPaths:
    def test_a_layer_without_a_name_is_called_as_its_class(self, tmp_path):
        layer = {"class_name": "my_package>MyDense", "config": {"constraint": "unit_norm"}}
        model = {"class_name": "Sequential", "config": [layer]}
        path = written(model, tmp_path / "m.json")
        assert read_constraints(path) == {"my_dense/constraint": UnitNorm()}

    def test_a_name_beside_the_config_counts_too(self, tmp_path):
        layer = {"class_name": "Dense", "name": "a", "config": {"constraint": "unit_norm"}}
        path = written({"class_name": "Model", "config": [layer]}, tmp_path / "m.json")
        assert read_constraints(path) == {"a/constraint": UnitNorm()}

    def test_places_in_lists_and_dictionaries_are_named(self, tmp_path):
        config = {
            "name": "mine",
            "constraints": ["non_neg", None, {"name": "MaxNorm", "m": 3}],
            "blocks": [{"kernel_constraint": "unit_norm"}, {"kernel_constraint": "non_neg"}],
            "kernel_constraints": {"q": "non_neg", "k": ac.serialize(MaxNorm(2))},
        }
        assert read_constraints(net(tmp_path, config)) == {
            "mine/constraints/0": NonNeg(),
            "mine/constraints/2": MaxNorm(3),
            "mine/blocks/0/kernel_constraint": UnitNorm(),
            "mine/blocks/1/kernel_constraint": NonNeg(),
            "mine/kernel_constraints/q": NonNeg(),
            "mine/kernel_constraints/k": MaxNorm(2),
        }

    @pytest.mark.parametrize(
        "config",
        [
            ac.serialize(MaxNorm(2)),
            ac.serialize(MaxNorm(2), dialect="keras"),
            {"class_name": "MaxNorm", "config": {"max_value": 2}},
        ],
    )
    def test_known_constraints_are_found_under_any_name(self, config, tmp_path):
        path = net(tmp_path, {"name": "mine", "rule": config})
        assert read_constraints(path) == {"mine/rule": MaxNorm(2)}

    def test_registered_constraints_are_found_under_any_name(self, clip, tmp_path):
        config = {"class_name": "acdemo>Clip", "config": {"lo": 0, "hi": 1}}
        found = read_constraints(net(tmp_path, {"name": "mine", "rule": config}))
        assert type(found["mine/rule"]) is clip
        config = {"class_name": "Clip", "module": "x", "registered_name": "acdemo>Clip"}
        path = net(tmp_path, {"name": "mine", "rule": {**config, "config": {"lo": 0, "hi": 1}}})
        assert type(read_constraints(path)["mine/rule"]) is clip

    def test_numbers_and_truth_values_are_options_and_no_constraints(self, tmp_path):
        config = {"name": "a", "use_constraint": True, "max_constraint": 2.5, "constraints": []}
        assert read_constraints(net(tmp_path, config)) == {}

    def test_a_model_may_have_arguments_of_its_own(self, tmp_path):
        model = {"class_name": "Mine", "config": {"name": "m", "kernel_constraint": "non_neg"}}
        path = written(model, tmp_path / "m.json")
        assert read_constraints(path) == {"kernel_constraint": NonNeg()}

    def test_what_is_compiled_and_built_is_no_layer(self, tmp_path):
        model = sequential({"name": "a", "kernel_constraint": "non_neg"})
        model["compile_config"] = model["build_config"] = {"constraint": "nonsense"}
        path = written(model, tmp_path / "m.json")
        assert read_constraints(path) == {"a/kernel_constraint": NonNeg()}


class TestTwoLayersOfOnePath:
    @pytest.mark.parametrize("other", ["unit_norm", None])
    def test_are_refused_where_one_is_constrained(self, other, tmp_path):
        configs = [{"name": "a", "kernel_constraint": c} for c in ("unit_norm", other)]
        for path in (net(tmp_path, *configs), net(tmp_path, *configs[::-1])):
            with pytest.raises(ValueError, match="'a/kernel_constraint': two layers have this"):
                read_constraints(path)

    def test_are_refused_where_they_constrain_different_arguments(self, tmp_path):
        first, second = ({f"{kind}_constraint": "non_neg"} for kind in ("kernel", "bias"))
        with pytest.raises(ValueError, match="two layers have this path"):
            read_constraints(net(tmp_path, {"name": "a", **first}, {"name": "a", **second}))

    def test_are_refused_where_a_name_has_a_slash(self, tmp_path):
        inner = sequential({"name": "b", "kernel_constraint": "non_neg"})
        inner["config"]["name"] = "a"
        model = sequential({"name": "a/b", "bias_constraint": "non_neg"})
        model["config"]["layers"].append(inner)
        with pytest.raises(ValueError, match="'a/b/bias_constraint': two layers have this"):
            read_constraints(written(model, tmp_path / "m.json"))

    def test_are_refused_where_a_key_has_a_slash(self, tmp_path):
        config = {"name": "a", "b/c_constraint": "non_neg", "b": {"c_constraint": "non_neg"}}
        with pytest.raises(ValueError, match="'a/b/c_constraint': two layers have this"):
            read_constraints(net(tmp_path, config))

    def test_are_of_no_account_where_none_is_constrained(self, tmp_path):
        configs = [{"name": n, "kernel_constraint": c} for n, c in [("a", None)] * 2]
        configs.append({"name": "b", "kernel_constraint": "non_neg"})
        assert read_constraints(net(tmp_path, *configs)) == {"b/kernel_constraint": NonNeg()}


def test_keras_is_not_imported(tmp_path):
    code = (
        "import sys, array_constraints\n"
        "assert not {'json', 'zipfile', 'h5py'} & set(sys.modules)\n"
        "for path in sys.argv[1:]:\n"
        "    print(array_constraints.config.read_constraints(path))\n"
        "assert not {'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules)\n"
    )
    config = {"name": "a", "kernel_constraint": "non_neg"}
    paths = [str(net(tmp_path, config, suffix=suffix)) for suffix in (".json", ".keras", ".h5")]
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["{'a/kernel_constraint': NonNeg()}"] * 3
