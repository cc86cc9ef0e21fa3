"""Constraints in saved models: of Keras 3 itself, and of the files of older versions."""

from __future__ import annotations

import inspect
import json
import math
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import array_constraints as ac
from array_constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from array_constraints.config import model_files, read_constraints, registry

h5py = pytest.importorskip("h5py")
keras = pytest.importorskip("keras")
layers, constraints = keras.layers, keras.constraints

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
STORED = Path(__file__).parent / "data" / "models"
FORMS = ["archive", "text", "hdf5"]


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


def saved(model, form: str, folder: Path) -> Path:
    """Return the path of a model of Keras, saved as an archive, a text or HDF5."""
    path = folder / {"archive": "m.keras", "text": "m.json", "hdf5": "m.h5"}[form]
    if form == "text":
        path.write_text(model.to_json(), encoding="utf-8")
    else:
        model.save(path)
    return path


def written(content: object, path: Path) -> Path:
    """Return the path of a model's configuration, written as its suffix says."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
    elif path.suffix in (".h5", ".hdf5"):
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = text
    else:
        path.write_bytes(text)
    return path


def sequential(*configs: dict) -> dict:
    """Return the configuration of a model that has Dense layers of these options."""
    dense = [{"class_name": "Dense", "config": config} for config in configs]
    return {"class_name": "Sequential", "config": {"name": "net", "layers": dense}}


def net(folder: Path, *configs: dict, suffix: str = ".json") -> Path:
    return written(sequential(*configs), folder / f"net{suffix}")


LAYERS = {
    "BatchNormalization": ({}, (4,)),
    "Conv1D": ({"filters": 2, "kernel_size": 2}, (5, 3)),
    "Conv1DTranspose": ({"filters": 2, "kernel_size": 2}, (5, 3)),
    "Conv2D": ({"filters": 2, "kernel_size": 2}, (4, 4, 3)),
    "Conv2DTranspose": ({"filters": 2, "kernel_size": 2}, (4, 4, 3)),
    "Conv3D": ({"filters": 2, "kernel_size": 2}, (3, 3, 3, 2)),
    "Conv3DTranspose": ({"filters": 2, "kernel_size": 2}, (3, 3, 3, 2)),
    "ConvLSTM1D": ({"filters": 2, "kernel_size": 2}, (2, 4, 3)),
    "ConvLSTM2D": ({"filters": 2, "kernel_size": 2}, (2, 4, 4, 3)),
    "ConvLSTM3D": ({"filters": 2, "kernel_size": 2}, (2, 3, 3, 3, 2)),
    "Dense": ({"units": 2}, (3,)),
    "DepthwiseConv1D": ({"kernel_size": 2}, (5, 3)),
    "DepthwiseConv2D": ({"kernel_size": 2}, (4, 4, 3)),
    "EinsumDense": ({"equation": "ab,bc->ac", "output_shape": 2, "bias_axes": "c"}, (3,)),
    "Embedding": ({"input_dim": 5, "output_dim": 2}, (4,)),
    "GRU": ({"units": 2}, (4, 3)),
    "GroupNormalization": ({"groups": 2}, (4,)),
    "GroupQueryAttention": (
        {"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1},
        (4, 3),
    ),
    "LSTM": ({"units": 2}, (4, 3)),
    "LayerNormalization": ({}, (4,)),
    "MultiHeadAttention": ({"num_heads": 2, "key_dim": 2}, (4, 3)),
    "PReLU": ({}, (4,)),
    "ReversibleEmbedding": ({"input_dim": 5, "output_dim": 2}, (4,)),
    "SeparableConv1D": ({"filters": 2, "kernel_size": 2}, (5, 3)),
    "SeparableConv2D": ({"filters": 2, "kernel_size": 2}, (4, 4, 3)),
    "SimpleRNN": ({"units": 2}, (4, 3)),
}
"""What each layer takes beside its constraints, and the shape of what it is called with."""
CELLS = {"GRUCell", "LSTMCell", "SimpleRNNCell"}  # in RNN, below


def arguments(layer: type) -> list[str]:
    return [name for name in inspect.signature(layer).parameters if "constraint" in name]


def pairs() -> list[tuple[object, Constraint]]:
    """Constraints of Keras, all different, and the same ones here."""
    return [
        (
            constraints.MinMaxNorm(0.5, 1.5, rate=0.75, axis=[0]),
            MinMaxNorm(0.5, 1.5, 0.75, (0,)),
        ),
        (constraints.MaxNorm(3, axis=-1), MaxNorm(3, axis=-1)),
        (constraints.UnitNorm(axis=None), UnitNorm(axis=None)),
    ]


def test_the_layers_of_keras_that_take_constraints_are_all_here():
    found = {layer for layer in vars(layers).values() if inspect.isclass(layer)}
    tested = {getattr(layers, name, None) for name in (*LAYERS, *CELLS)}
    assert {layer for layer in found if arguments(layer)} <= tested


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", LAYERS)
def test_every_argument_of_every_layer_of_keras_is_found(name, form, tmp_path):
    if not hasattr(layers, name):
        pytest.skip("not in this version of Keras")
    options, shape = LAYERS[name]
    given = dict(zip(arguments(getattr(layers, name)), pairs(), strict=False))
    theirs = {argument: constraint for argument, (constraint, _) in given.items()}
    layer = getattr(layers, name)(**options, **theirs, name="mine")
    start = keras.Input(shape, name="start")
    end = layer(start, start) if "Attention" in name else layer(start)
    found = read_constraints(saved(keras.Model(start, end), form, tmp_path))
    assert found == {f"mine/{argument}": ours for argument, (_, ours) in given.items()}
    assert found


@pytest.mark.parametrize("form", FORMS)
def test_layers_in_layers_are_named_from_the_outermost_one(form, tmp_path):
    start = keras.Input((6, 4), name="start")
    lstm = layers.LSTM(3, bias_constraint="non_neg", return_sequences=True, name="lstm")
    x = layers.Bidirectional(lstm, name="both")(start)
    dense = layers.Dense(4, kernel_constraint=constraints.MaxNorm(1), name="dense")
    x = layers.TimeDistributed(dense, name="each")(x)
    cells = [
        layers.LSTMCell(3, recurrent_constraint=constraints.MaxNorm(2), name="first"),
        layers.GRUCell(3, kernel_constraint=constraints.MaxNorm(3), name="second"),
    ]
    x = layers.RNN(
        layers.StackedRNNCells(cells, name="stack"), return_sequences=True, name="rnn"
    )(x)
    cell = layers.SimpleRNNCell(3, kernel_constraint=constraints.MaxNorm(4), name="cell")
    x = layers.RNN(cell, return_sequences=True, name="simple")(x)
    dense = layers.Dense(3, kernel_constraint=constraints.MaxNorm(5), name="dense")
    inner = keras.Sequential([keras.Sequential([dense], name="inner")], name="outer")
    x = layers.Lambda(lambda t: t, output_shape=(6, 3), name="same")(inner(x))
    found = read_constraints(saved(keras.Model(start, x, name="net"), form, tmp_path))
    assert found == {
        "both/forward_lstm/bias_constraint": NonNeg(),
        "both/backward_lstm/bias_constraint": NonNeg(),
        "each/dense/kernel_constraint": MaxNorm(1),
        "rnn/stack/first/recurrent_constraint": MaxNorm(2),
        "rnn/stack/second/kernel_constraint": MaxNorm(3),
        "simple/cell/kernel_constraint": MaxNorm(4),
        "outer/inner/dense/kernel_constraint": MaxNorm(5),
    }
    assert [path.partition("/")[0] for path in found] == [
        "both", "both", "each", "rnn", "rnn", "simple", "outer",
    ]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_constrains_the_weights_of_that_layer_as_keras_does(form, tmp_path):
    theirs = constraints.MaxNorm(0.25, axis=1)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3, kernel_constraint=theirs)])
    ((path, ours),) = read_constraints(saved(model, form, tmp_path)).items()
    assert path == f"{model.layers[0].name}/kernel_constraint"
    kernel = np.asarray(model.layers[0].kernel)
    np.testing.assert_allclose(ours(kernel), theirs(kernel), atol=1e-6)


REGISTERED = """
import sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import keras
import array_constraints.integrations.keras
from array_constraints import MaxNorm
constraint = MaxNorm((1.0, float("inf")), axis=-1)
dense = keras.layers.Dense(2, kernel_constraint=constraint, name="dense")
model = keras.Sequential([keras.Input((3,)), dense])
model.save("m.keras")
model.save("m.h5")
open("m.json", "w").write(model.to_json())
"""


def test_our_own_classes_registered_with_keras_are_read_as_ours(tmp_path):
    """By the integration, in a process of its own: Keras does not forget a class again."""
    subprocess.run([sys.executable, "-c", REGISTERED], cwd=tmp_path, check=True)
    for name in ("m.keras", "m.h5", "m.json"):
        found = read_constraints(tmp_path / name)
        assert found == {"dense/kernel_constraint": MaxNorm((1.0, math.inf), axis=-1)}


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


@pytest.mark.parametrize(
    "value", ["text", np.bytes_("text")], ids=["of any length", "of one length"]
)
def test_the_attribute_may_be_a_text_or_bytes(value, tmp_path):
    text = json.dumps(sequential({"name": "é", "kernel_constraint": "non_neg"}))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = text if value == "text" else np.bytes_(text.encode())
    assert read_constraints(tmp_path / "m.h5") == {"é/kernel_constraint": NonNeg()}


def test_hdf5_that_keras_2_named_keras_is_read_as_such(tmp_path):
    path = net(tmp_path, {"name": "a", "kernel_constraint": "non_neg"}, suffix=".h5")
    path = path.rename(tmp_path / "net.keras")
    assert read_constraints(path) == {"a/kernel_constraint": NonNeg()}


def test_compressed_archives_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(sequential({"constraint": "non_neg"})))
    assert read_constraints(tmp_path / "m.keras") == {"dense/constraint": NonNeg()}


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


class TestFiles:
    @pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.json"])
    def test_that_are_not_there_are_the_systems_error(self, name, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_constraints(tmp_path / name)

    @pytest.mark.parametrize("name", ["m.txt", "m", "m.npz", "m.JSON"])
    def test_of_other_kinds_are_refused(self, name, tmp_path):
        message = "models are read from .keras, .json, .h5, .hdf5"
        with pytest.raises(ValueError, match=message):
            read_constraints(written(sequential(), tmp_path / name))

    def test_that_are_folders_say_what_to_read(self, tmp_path):
        (tmp_path / "m.keras").mkdir()
        with pytest.raises(ValueError, match=r"is a folder: read the config\.json in it"):
            read_constraints(tmp_path / "m.keras")

    @pytest.mark.parametrize("suffix", [".json", ".keras", ".h5"])
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"{", "the configuration cannot be read: Expecting"),
            (b"", "the configuration cannot be read: Expecting"),
            (b'{"class_name": "\xff"}', "the configuration cannot be read: .*utf-8"),
            (b'{"a": 1, "a": 1}', "the key 'a' stands there twice"),
            (b'{"a": 1e999}', "'1e999' is beyond the range of numbers"),
            (b"[" * 100_000, "the configuration is nested too deep"),
            (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "nested more than 64 levels deep"),
            (b"[]", "holds no model: got list"),
            (b'"{}"', "holds no model: got str"),
            (b'{"modelTopology": {"node": []}}', r"no class_name or config, got \['node'\]"),
            (b'{"class_name": 3, "config": {}}', "holds no model"),
            (b'{"class_name": "Sequential"}', "holds no model"),
        ],
        ids=lambda value: str(value[:12]),
    )
    def test_of_damaged_configurations_are_refused(self, text, message, suffix, tmp_path):
        path = written(text, tmp_path / f"m{suffix}")
        with pytest.raises(ValueError, match=message) as caught:
            read_constraints(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("suffix", [".json", ".keras", ".h5"])
    def test_of_any_length_are_refused(self, suffix, tmp_path, monkeypatch):
        path = net(tmp_path, {"name": "a"}, suffix=suffix)
        length = len(json.dumps(sequential({"name": "a"})))
        monkeypatch.setattr(model_files, "_LONGEST", length)
        assert read_constraints(path) == {}
        monkeypatch.setattr(model_files, "_LONGEST", length - 1)
        with pytest.raises(ValueError, match=f"longer than {length - 1} bytes"):
            read_constraints(path)

    def test_with_a_mark_of_an_editor_are_read(self, tmp_path):
        text = json.dumps(sequential({"name": "a", "constraint": "non_neg"}))
        (tmp_path / "m.json").write_text(text, encoding="utf-8-sig")
        assert read_constraints(tmp_path / "m.json") == {"a/constraint": NonNeg()}


class TestArchives:
    @pytest.mark.parametrize("count", [0, 2])
    def test_have_one_configuration(self, count, tmp_path):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            archive.writestr("metadata.json", "{}")
            for _ in range(count):
                archive.filelist = [i for i in archive.filelist if i.filename == "config.json"]
                archive.NameToInfo.clear()  # so that none of them is warned about
                archive.writestr("config.json", json.dumps(sequential()))
        with pytest.raises(ValueError, match=f"it has {count} members config.json"):
            read_constraints(tmp_path / "m.keras")

    def test_that_are_none_are_refused(self, tmp_path):
        (tmp_path / "m.keras").write_bytes(b"{}")
        with pytest.raises(ValueError, match="the archive cannot be read: File is not a zip"):
            read_constraints(tmp_path / "m.keras")

    def test_by_other_methods_are_refused(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr("config.json", json.dumps(sequential()))
        with pytest.raises(ValueError, match="is compressed by method 14"):
            read_constraints(tmp_path / "m.keras")

    def test_with_a_password_are_refused(self, tmp_path):
        path = written(sequential(), tmp_path / "m.keras")
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"config\.json is encrypted"):
            read_constraints(path)

    def test_with_another_checksum_are_refused(self, tmp_path):
        path = net(tmp_path, {"name": "a"}, suffix=".keras")
        path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
        with pytest.raises(ValueError, match="the archive cannot be read: Bad CRC-32"):
            read_constraints(path)

    def test_that_promise_more_than_they_have_are_refused(self, tmp_path):
        path = written(sequential(), tmp_path / "m.keras")
        content = bytearray(path.read_bytes())
        struct.pack_into("<I", content, content.index(b"PK\1\2") + 24, 2**31)
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is longer than 33554432 bytes"):
            read_constraints(path)


class TestHdf5:
    def test_of_weights_alone_says_so(self, tmp_path):
        with h5py.File(tmp_path / "m.weights.h5", "w") as file:
            file["kernel"] = np.ones(3)
        with pytest.raises(ValueError, match="no attribute model_config: weights alone"):
            read_constraints(tmp_path / "m.weights.h5")

    def test_that_is_none_is_refused(self, tmp_path):
        (tmp_path / "m.h5").write_bytes(b"{}" * 1000)
        with pytest.raises(ValueError, match=r"m\.h5: the HDF5 file cannot be read: "):
            read_constraints(tmp_path / "m.h5")

    @pytest.mark.parametrize("value", [3, ["{}"], np.zeros((2, 3)), h5py.Empty("f")])
    def test_must_have_one_text(self, value, tmp_path):
        with h5py.File(tmp_path / "m.h5", "w") as file:
            file.attrs["model_config"] = value
        with pytest.raises(ValueError, match=r"model_config must be (one|a) text"):
            read_constraints(tmp_path / "m.h5")

    def test_without_h5py_says_what_to_install(self, tmp_path, monkeypatch):
        path = net(tmp_path, {"name": "a"}, suffix=".h5")
        monkeypatch.setitem(sys.modules, "h5py", None)
        message = r"HDF5 is read with h5py: pip install 'array-constraints\[hdf5\]'"
        with pytest.raises(ImportError, match=message):
            read_constraints(path)


@pytest.mark.parametrize("suffix", [".json", ".keras", ".h5"])
def test_damage_anywhere_ends_in_a_result_or_a_value_error(suffix, tmp_path):
    """Every byte of the configuration and of what surrounds it, changed."""
    path = net(tmp_path, {"name": "a", "kernel_constraint": "non_neg"}, suffix=suffix)
    whole = path.read_bytes()
    step = max(1, len(whole) // 200)
    for at in range(0, len(whole), step):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                found = read_constraints(path)
            except (ValueError, TypeError):
                continue
            assert all(isinstance(c, Constraint) for c in found.values())


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
