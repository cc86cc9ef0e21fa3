"""Rules that ask for dimensions, and the incoming axis of a layout, on files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from array_constraints import MaxNorm, NonNeg, UnitNorm
from array_constraints.files import check_file, project_file
from array_constraints.rules import Rule, Rules

WEIGHTS = {
    "body.weight": np.full((4, 9), 1.0, "float32"),
    "body.bias": np.full(4, -1.0, "float32"),
    "embed.weight": np.full((5, 4), 2.0, "float32"),
}
RULES = Rules(
    [
        Rule("*", UnitNorm(axis="incoming"), ndim=2, exclude="embed.*"),
        Rule("embed.weight", MaxNorm(1.0, axis="incoming")),
        Rule("*.bias", NonNeg()),
        Rule("gone.*", NonNeg(), required=False),
    ]
)


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "w.npz", **WEIGHTS)
    return tmp_path / "w.npz"


def test_it_is_resolved_by_the_layout(file, tmp_path):
    report = project_file(file, tmp_path / "out.npz", RULES, layout="torch")
    assert report.satisfied
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["body.weight"], 1 / 3, rtol=1e-6)
        np.testing.assert_allclose(found["embed.weight"], 1 / 2, rtol=1e-6)
        assert found["body.bias"].tolist() == [0.0] * 4
    assert check_file(tmp_path / "out.npz", RULES, layout="torch").satisfied
    columns = Rules([Rule("body.weight", UnitNorm(axis="incoming"))])
    with pytest.raises(
        ValueError, match=r"'body.weight': axis='incoming': shape .*Dense.*Embedd"
    ):
        check_file(file, columns, layout="keras")


def test_without_a_layout_it_is_an_error_that_names_the_tensor(file):
    with pytest.raises(
        ValueError, match=r"'body.weight': axis='incoming' is known from a layer"
    ):
        check_file(file, RULES)
    with pytest.raises(ValueError, match="layout must be 'torch' or 'keras', got 'flax'"):
        check_file(file, RULES, layout="flax")


def test_a_kind_needs_a_layer(file):
    with pytest.raises(ValueError, match="asks for its kind, which only a layer knows"):
        check_file(file, Rules([Rule("*", NonNeg(), kind="dense")]))


def test_a_run_is_continued_with_the_same_rules_and_axes_alone(tmp_path):
    from array_constraints.files.delivery.identity import fingerprint
    from array_constraints.files.formats.opening import open_weights

    np.save(tmp_path / "w.npy", WEIGHTS["body.weight"])
    with open_weights(tmp_path / "w.npy") as source:
        made = {
            json.dumps(fingerprint(source, source.files, rules, axes))
            for axes in ([], [("w", (0,))], [("w", (1,))])
            for rules in (
                RULES,
                Rules(RULES.rules[:2]),
                Rules([Rule("*", UnitNorm(axis="incoming"), ndim=3)]),
                Rules([Rule("*", UnitNorm(axis="incoming"), ndim=2)]),
            )
        }
    assert len(made) == 12


def file_of_torch(folder, tensors, config=None):
    """Make a file as PyTorch's ecosystem writes it, and the ``config.json`` beside it."""
    from safetensors.numpy import save_file

    arrays = {name: np.ones(shape, "f4") for name, shape in tensors.items()}
    save_file(arrays, folder / "model.safetensors", {"format": "pt"})
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / "model.safetensors"


def incoming(path, select="*.weight", **options):
    """Return the axis that is found for each weight."""
    report = check_file(path, [(select, MaxNorm(9.0, axis="incoming"))], **options)
    return {tensor.name: tensor.constraint.axis for tensor in report.tensors}


@pytest.mark.parametrize(
    ("kind", "axis"), [("gpt2", 0), ("imagegpt", 0), ("llama", 1), ("gpt_bigcode", 1)]
)
def test_the_type_of_a_transformer_tells_what_its_c_attn_is(kind, axis, tmp_path):
    path = file_of_torch(tmp_path, {"h.0.attn.c_attn.weight": (8, 24)}, {"model_type": kind})
    assert incoming(path) == {"h.0.attn.c_attn.weight": axis}


def test_a_model_within_a_model_tells_it_too(tmp_path):
    config = {"model_type": "encoder-decoder", "decoder": {"model_type": "gpt2"}}
    path = file_of_torch(tmp_path, {"decoder.h.0.mlp.c_fc.weight": (8, 32)}, config)
    assert incoming(path) == {"decoder.h.0.mlp.c_fc.weight": 0}


def test_a_bias_tells_more_than_a_name_and_speaks_for_its_like(tmp_path):
    tensors = {"a.c_attn.weight": (8, 24), "a.c_attn.bias": (24,), "a.c_proj.weight": (8, 8)}
    assert incoming(file_of_torch(tmp_path, tensors)) == {
        "a.c_attn.weight": 0,
        "a.c_proj.weight": 0,
    }
    linear = {"a.c_attn.weight": (24, 8), "a.c_attn.bias": (24,), "a.c_proj.weight": (8, 8)}
    assert incoming(file_of_torch(tmp_path, linear, {"model_type": "gpt2"})) == {
        "a.c_attn.weight": 1,
        "a.c_proj.weight": 1,
    }
    # no name that is known, and yet a bias that only such a layer can have
    assert incoming(file_of_torch(tmp_path, {"w.weight": (8, 24), "w.bias": (24,)})) == {
        "w.weight": 0
    }


def test_where_nothing_tells_it_the_error_names_both_layers(tmp_path):
    path = file_of_torch(tmp_path, {"a.c_attn.weight": (8, 24)})
    with pytest.raises(
        ValueError, match=r"Linear \(axis \(1,\)\) and of transformers' Conv1D \(axis \(0,\)\)"
    ):
        incoming(path)
    path = file_of_torch(tmp_path, {"up.weight": (8, 16, 3, 3)})
    with pytest.raises(
        ValueError,
        match=r"Conv2d \(axis \(1, 2, 3\)\) and of ConvTranspose2d \(axis \(0, 2, 3\)\)",
    ):
        incoming(path)


@pytest.mark.parametrize(
    ("shape", "bias", "axis"),
    [
        ((8, 16, 3, 3), 8, (1, 2, 3)),
        ((8, 16, 3, 3), 16, (0, 2, 3)),
        ((6, 3, 3, 3), 6, (1, 2, 3)),  # an image has three channels
        ((8, 1, 3), 8, (1, 2)),
    ],
)
def test_the_bias_of_a_convolution_tells_which_it_is(shape, bias, axis, tmp_path):
    tensors = {"up.weight": shape, "up.bias": (bias,)}
    assert incoming(file_of_torch(tmp_path, tensors)) == {"up.weight": axis}


@pytest.mark.parametrize("bias", [7, 32])
def test_a_bias_that_no_layer_has_is_named(bias, tmp_path):
    """A transposed convolution with groups has such a bias, and no incoming axis."""
    path = file_of_torch(tmp_path, {"up.weight": (8, 16, 3, 3), "up.bias": (bias,)})
    with pytest.raises(LookupError, match="by what else is in the file"):
        incoming(path)


@pytest.mark.parametrize(
    ("transposed", "down", "up"),
    [((), (1, 2, 3), (1, 2, 3)), ("up*", (1, 2, 3), (0, 2, 3)), (["*"], (0, 2, 3), (0, 2, 3))],
)
def test_one_can_say_which_convolutions_are_transposed(transposed, down, up, tmp_path):
    """A network with normalizations has no biases: all of its convolutions may be either."""
    tensors = {"down.weight": (8, 8, 3, 3), "up.weight": (8, 8, 3, 3), "fc.weight": (4, 6)}
    path = file_of_torch(tmp_path, tensors)
    with pytest.raises(ValueError, match="say by transposed= which are so, or write the axis"):
        incoming(path)
    assert incoming(path, transposed=transposed) == {
        "down.weight": down,
        "up.weight": up,
        "fc.weight": 1,
    }


def test_a_mask_that_is_named_as_a_bias_is_skipped(tmp_path):
    """GPT-2 keeps its causal mask in a buffer by that name."""
    tensors = {"h.0.attn.bias": (1, 1, 9, 9), "h.0.attn.c_attn.weight": (8, 24)}
    path = file_of_torch(tmp_path, tensors, {"model_type": "gpt2"})
    assert incoming(path, "*") == {"h.0.attn.c_attn.weight": 0}


@pytest.mark.parametrize("text", ["{", "[1]", "", '{"model_type": 3}'])
def test_a_config_that_tells_nothing_guesses_nothing(text, tmp_path):
    path = file_of_torch(tmp_path, {"a.c_attn.weight": (8, 24), "b.weight": (4, 6)})
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config.json: is no JSON|Linear .*and of"):
        incoming(path)


def test_the_bias_of_a_layer_tells_more_than_those_of_others(tmp_path):
    """A model of two: one with Conv1D, one with Linear layers of the same names."""
    both = {"gpt.c_attn.weight": (3, 9), "gpt.c_attn.bias": (9,)}
    both |= {"clip.c_attn.weight": (9, 3), "clip.c_attn.bias": (9,)}
    assert incoming(file_of_torch(tmp_path, both)) == {
        "gpt.c_attn.weight": 0,
        "clip.c_attn.weight": 1,
    }
    with pytest.raises(ValueError, match=r"Linear .* Conv1D"):
        incoming(file_of_torch(tmp_path, both | {"gpt.c_proj.weight": (3, 3)}))


def test_a_normalization_over_two_dimensions_has_no_units(tmp_path):
    tensors = {"n.weight": (4, 5), "n.bias": (4, 5), "fc.weight": (4, 5), "fc.bias": (4,)}
    assert incoming(file_of_torch(tmp_path, tensors), "*") == {"fc.weight": 1}


def test_a_name_that_no_layer_gives_is_skipped_unless_the_layout_is_written(tmp_path):
    tensors = {"text_projection": (4, 5), "fc.weight": (4, 5), "rnn.weight_ih_l0": (8, 5)}
    path = file_of_torch(tmp_path, tensors)
    assert incoming(path, "*") == {"fc.weight": 1, "rnn.weight_ih_l0": 1}
    assert incoming(path, "*", layout="torch")["text_projection"] == 1


def test_a_run_is_not_continued_with_other_axes(tmp_path):
    """A ``config.json`` beside the file tells them, and may change meanwhile."""
    from array_constraints.files import ResumableError

    path = file_of_torch(tmp_path, {"h.c_attn.weight": (8, 24)}, {"model_type": "gpt2"})
    out, rules = tmp_path / "out.safetensors", [("*", UnitNorm(axis="incoming"))]

    counts = []

    def stop(count):
        counts.append(count)
        if len(counts) > 1:
            raise OSError("stopped")

    with pytest.raises(ResumableError):
        project_file(path, out, rules, progress=stop)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(FileExistsError, match="with other constraints"):
        project_file(path, out, rules, resume=True)


KERAS = {
    "layers/dense_1/vars/0": ((5, 4), 0),
    "layers/conv2d/vars/0": ((3, 3, 2, 4), (0, 1, 2)),
    "layers/conv2d_transpose/vars/0": ((3, 3, 4, 2), (0, 1, 3)),
    "layers/depthwise_conv2d/vars/0": ((3, 3, 2, 1), (0, 1)),
    "layers/embedding/vars/0": ((9, 4), 1),
    "layers/lstm/cell/vars/1": ((4, 16), 0),
    "layers/multi_head_attention/query_dense/vars/0": ((4, 2, 3), 0),
    "layers/multi_head_attention/output_dense/vars/0": ((2, 3, 4), (0, 1)),
    "layers/grouped_query_attention/_key_dense/vars/0": ((4, 2, 3), 0),
    "layers/bidirectional/forward_layer/cell/vars/0": ((4, 16), 0),
}
WITHOUT_UNITS = {
    "layers/gru/cell/vars/2": (2, 9),
    "layers/multi_head_attention/query_dense/vars/1": (2, 3),
    "layers/dense_1/vars/1": (4,),
}


def test_the_paths_of_keras_name_the_layers(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for path, (shape, _) in KERAS.items():
            file[path] = np.ones(shape, "f4")
        for path, shape in WITHOUT_UNITS.items():
            file[path] = np.ones(shape, "f4")
    assert incoming(tmp_path / "m.weights.h5", "*") == {
        path: axis for path, (_, axis) in KERAS.items()
    }


@pytest.mark.parametrize("path", ["mine/conv2d/vars/0", "conv2d/vars/0"])
def test_an_attribute_that_is_named_as_a_class_is_not_believed(path, tmp_path):
    """In a layer of one's own, what is kept as ``self.conv2d`` may be of any class."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file[path] = np.ones((3, 3, 2, 2), "f4")
    with pytest.raises(ValueError, match=r"Conv2D .*and of Conv2DTranspose"):
        incoming(tmp_path / "m.weights.h5", "*")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")
def test_the_axes_are_those_of_the_layers_of_keras_itself(tmp_path):
    """The paths are what Keras writes, and the axes those that its layers have in memory."""
    keras = pytest.importorskip("keras")
    from array_constraints.layers import weights_of

    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 2)),
            keras.layers.Conv2D(3, 3),
            keras.layers.Conv2DTranspose(4, 2),
            keras.layers.DepthwiseConv2D(2),
            keras.layers.SeparableConv2D(5, 2),
            keras.layers.Reshape((-1, 5)),
            keras.layers.LSTM(3),
            keras.layers.Dense(7),
        ]
    )
    model.save_weights(tmp_path / "m.weights.h5")
    found = incoming(tmp_path / "m.weights.h5", "*")
    expected = []
    for weight in weights_of(model):
        axes = weight.role.incoming
        if isinstance(axes, tuple):
            expected.append((tuple(weight.array.shape), axes))
    with_shapes = []
    with pytest.importorskip("h5py").File(tmp_path / "m.weights.h5") as file:
        for path, axis in found.items():
            with_shapes.append((file[path].shape, (axis,) if isinstance(axis, int) else axis))
    assert sorted(with_shapes) == sorted(expected)
