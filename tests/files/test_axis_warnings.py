"""Warnings about the axis: right, or absent."""

from __future__ import annotations

import numpy as np
import pytest

from array_constraints import MaxNorm
from array_constraints.files import check_file

OUTPUTS_FIRST = "the incoming weights of one output are those along axis 1"
INPUTS_FIRST = "the incoming weights of one output are those along axis 0"


def warned(path, tensors, axis, name="*"):
    """Return what is warned of, for a file as PyTorch's ecosystem writes it."""
    from safetensors.numpy import save_file

    arrays = {key: np.ones(shape, "f4") for key, shape in tensors.items()}
    save_file(arrays, path / "in.safetensors", {"format": "pt"})
    return check_file(path / "in.safetensors", [(name, MaxNorm(9.0, axis=axis))]).warnings


GPT2 = {  # names and shapes as transformers writes them
    "transformer.wte.weight": (50, 8),
    "transformer.h.0.attn.c_attn.weight": (8, 24),
    "transformer.h.0.attn.c_attn.bias": (24,),
    "transformer.h.0.attn.c_proj.weight": (8, 8),
    "transformer.h.0.attn.c_proj.bias": (8,),
    "transformer.h.0.mlp.c_fc.weight": (8, 32),
    "transformer.h.0.mlp.c_fc.bias": (32,),
    "transformer.h.0.mlp.c_proj.weight": (32, 8),
    "transformer.h.0.mlp.c_proj.bias": (8,),
}


@pytest.mark.parametrize("layer", ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"])
@pytest.mark.parametrize("axis", [0, -2])
def test_the_right_axis_of_gpt2_is_not_warned_of_and_the_wrong_one_is(layer, axis, tmp_path):
    name = f"*.{layer}.weight"
    assert warned(tmp_path, GPT2, axis, name) == ()
    (text,) = warned(tmp_path, GPT2, axis + 1, name)
    assert INPUTS_FIRST in text


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["h.0.attn.c_attn.weight", "c_fc.weight", "x.q_attn.weight"])
def test_names_of_gpt2_alone_say_nothing(name, axis, tmp_path):
    assert warned(tmp_path, {name: (8, 24)}, axis) == ()


def test_names_of_gpt2_with_the_layout_of_linear_follow_the_bias(tmp_path):
    nano = {"c_attn.weight": (24, 8), "c_attn.bias": (24,), "c_proj.weight": (8, 8)}
    told, alike = warned(tmp_path, nano, 0, "*.weight")
    assert told.startswith("'c_attn.weight' of shape (24, 8), axes (0,): the bias has")
    assert alike.startswith("'c_proj.weight' of shape (8, 8), axes (0,): torch keeps")
    assert OUTPUTS_FIRST in told
    assert OUTPUTS_FIRST in alike
    assert warned(tmp_path, nano, 1, "*.weight") == ()


@pytest.mark.parametrize("bias", [(6,), None])
def test_linear_layers_are_warned_of_along_axis_0(bias, tmp_path):
    tensors = {"fc.weight": (6, 4), **({"fc.bias": bias} if bias else {})}
    (text,) = warned(tmp_path, tensors, 0, "*.weight")
    assert OUTPUTS_FIRST in text
    assert ("most often" in text) == (bias is None)
    assert warned(tmp_path, tensors, 1, "*.weight") == ()


def test_a_bias_of_neither_length_says_nothing(tmp_path):
    (text,) = warned(tmp_path, {"fc.weight": (6, 4), "fc.bias": (5,)}, 0, "*.weight")
    assert "most often" in text


@pytest.mark.parametrize(
    "name",
    ["wte", "transformer.wpe", "model.embed_tokens", "embeddings.word_embeddings", "shared"],
)
def test_embeddings_are_not_outputs_and_inputs(name, tmp_path):
    (text,) = warned(tmp_path, {f"{name}.weight": (50, 8)}, 0)
    assert "one feature of all entries" in text
    assert "outputs" not in text
    assert warned(tmp_path, {f"{name}.weight": (50, 8)}, 1) == ()


def test_each_mistake_is_warned_of_once_with_the_first_that_has_it(tmp_path):
    tensors = {f"{name}.weight": (6, 4) for name in ("a", "b", "wte")} | {"one": (1, 3)}
    first, second, third = warned(tmp_path, tensors, 0)
    assert first.startswith("'a.weight' of shape (6, 4), axes (0,) (and 1 more): torch keeps")
    assert second.startswith("'one' of shape (1, 3), axes (0,): each slice has one entry")
    assert third.startswith("'wte.weight' of shape (6, 4), axes (0,): a row of an embedding")


@pytest.mark.parametrize(
    ("axis", "wrong"),
    [
        *[(0, True), (1, True), ((0, 1), True), ((0, 1, 2), True)],
        *[((1, 2, 3), False), ((0, 2, 3), False), ((2, 3), False), (None, False)],
    ],
)
def test_convolutions_of_torch_are_warned_of_where_kernels_are_cut(axis, wrong, tmp_path):
    """A transposed one keeps (inputs, outputs, ...); (2, 3) are kernels of two dimensions."""
    found = warned(tmp_path, {"conv.weight": (6, 4, 3, 3)}, axis)
    assert len(found) == wrong
    assert all("torch keeps a convolution as (outputs, inputs, ...)" in text for text in found)


@pytest.mark.parametrize(
    ("path", "shape", "right", "others"),
    [
        ("layers/dense_1/vars/0", (5, 4), 0, ()),
        ("layers/conv2d/vars/0", (3, 3, 2, 4), (0, 1, 2), ((0, 1),)),
        ("layers/conv2d_transpose/vars/0", (3, 3, 4, 2), (0, 1, 3), ((0, 1),)),
        ("layers/depthwise_conv2d/vars/0", (3, 3, 2, 1), (0, 1), ()),
        ("layers/embedding/vars/0", (9, 4), 1, ()),
        ("layers/lstm/cell/vars/1", (4, 16), 0, ()),
    ],
)
def test_layers_of_keras_are_warned_of_by_their_paths(path, shape, right, others, tmp_path):
    """The default of Keras, axis 0, is right for dense and recurrent layers alone."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file[path] = np.ones(shape, "f4")
    every = tuple(range(len(shape)))

    def found(axis):
        return check_file(tmp_path / "m.weights.h5", [("*", MaxNorm(9.0, axis=axis))]).warnings

    for axis in (right, *others, every):
        assert found(axis) == ()
    for axis in {*every} - {right}:
        (text,) = found(axis)
        along = f"axes {right}" if isinstance(right, tuple) else f"axis {right}"
        right_one = f"along {along}: axis='incoming' takes those"
        assert text.endswith(right_one if shape[axis] > 1 else "each slice has one entry")


def test_other_shapes_and_styles_are_not_warned_of(tmp_path):
    assert warned(tmp_path, {"fc.bias": (4,)}, None) == ()
    np.save(tmp_path / "kernel.npy", np.ones((6, 4)))
    assert check_file(tmp_path / "kernel.npy", MaxNorm(9.0, axis=0)).warnings == ()


def test_gains_and_biases_along_an_axis_by_default_are_warned_of(tmp_path):
    (text,) = warned(tmp_path, {"norm.weight": (4,), "norm.bias": (4,)}, 0)
    assert text.startswith(
        "'norm.bias' of shape (4,), axes (0,) (and 1 more): all of it is one"
    )
    assert warned(tmp_path, {"norm.weight": (4,), "fc.weight": (8, 4)}, 1) == ()
    assert warned(tmp_path, {"norm.weight": (4,)}, (0,)) == ()  # a tuple is meant


def test_an_axis_that_is_incoming_is_named_where_it_is_known(tmp_path):
    (text,) = warned(tmp_path, {"fc.weight": (8, 4)}, 0)
    assert text.endswith("those along axis 1: axis='incoming' takes those")
    (text,) = warned(tmp_path, {"conv.weight": (6, 4, 3, 3)}, 0)  # or a transposed one
    assert text.endswith("those along all axes but that of the outputs")
