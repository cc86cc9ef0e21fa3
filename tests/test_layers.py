"""Names, kinds and incoming axes of weights: of modules of PyTorch, and of shapes alone."""

from __future__ import annotations

import numpy as np
import pytest

from array_constraints import MaxNorm, NonNeg, Rescaling, UnitNorm, deserialize, serialize
from array_constraints.layers import KINDS, Role, Weight, resolved, weights_of
from array_constraints.layers.by_shape import role_of


def incoming(role):
    return role.incoming if isinstance(role.incoming, tuple) else None


@pytest.mark.parametrize(
    ("layout", "name", "shape", "axes"),
    [
        ("torch", "fc.weight", (3, 2), (1,)),
        ("torch", "lstm.weight_hh_l0", (8, 2), (1,)),
        ("torch", "attention.in_proj_weight", (6, 2), (1,)),
        ("keras", "dense/kernel", (3, 2), (0,)),
        ("keras", "lstm/lstm_cell/recurrent_kernel", (2, 8), (0,)),
        ("keras", "embedding.embeddings", (9, 2), (1,)),
        ("keras", "separable/depthwise_kernel", (3, 3, 4, 2), (0, 1)),
        ("keras", "separable/depthwise_kernel", (3, 4, 2), (0,)),
        ("keras", "separable/pointwise_kernel", (1, 1, 8, 5), (0, 1, 2)),
        ("keras", "conv_lstm/recurrent_kernel", (3, 3, 4, 16), (0, 1, 2)),
    ],
)
def test_the_axis_of_a_shape_that_one_answer_fits(layout, name, shape, axes):
    assert incoming(role_of(name, shape, layout)) == axes


@pytest.mark.parametrize(
    ("layout", "name", "shape", "both"),
    [
        ("torch", "weight", (4, 2, 3), (r"Conv1d \(axis \(1, 2\)\)", "ConvTranspose1d")),
        ("torch", "weight", (4, 2, 3, 3), ("Conv2d", r"ConvTranspose2d \(axis \(0, 2, 3\)\)")),
        ("torch", "weight", (4, 2, 3, 3, 3), ("Conv3d", "ConvTranspose3d")),
        ("torch", "h.0.mlp.c_fc.weight", (3, 2), ("Linear", "transformers' Conv1D")),
        ("keras", "w", (3, 2), (r"Dense \(axis \(0,\)\)", r"Embedding \(axis \(1,\)\)")),
        ("keras", "kernel", (3, 2, 4), ("Conv1D", "Conv1DTranspose", "query of MultiHead")),
        ("keras", "kernel", (3, 3, 2, 4), ("Conv2D", "Conv2DTranspose", "DepthwiseConv2D")),
        ("keras", "kernel", (3, 3, 3, 2, 4), ("Conv3D", "Conv3DTranspose")),
    ],
)
def test_two_layers_that_fit_one_shape_are_named_and_nothing_is_guessed(
    layout, name, shape, both
):
    weight = Weight(name, np.ones(shape), role_of(name, shape, layout))
    with pytest.raises(ValueError, match=".*".join(both) + ".*: write the axis"):
        resolved(MaxNorm(1.0, "incoming"), weight)


@pytest.mark.parametrize(
    ("layout", "name", "shape", "message"),
    [
        ("torch", "fc.bias", (3,), "one weight for each unit"),
        ("keras", "gru/gru_cell/bias", (2, 9), "one weight for each unit"),
        ("torch", "w", (1, 2, 3, 4, 5, 6), r"no layer of torch has a weight of shape \(1, 2"),
        ("keras", "kernel", (1, 2, 3, 4, 5, 6), "no layer of keras"),
    ],
)
def test_weights_without_incoming_ones_say_why(layout, name, shape, message):
    weight = Weight(name, np.ones(shape), role_of(name, shape, layout))
    with pytest.raises(ValueError, match=message):
        resolved(MaxNorm(1.0, "incoming"), weight)


def test_an_unknown_layout_is_an_error():
    with pytest.raises(ValueError, match="layout must be 'torch' or 'keras', got 'jax'"):
        weights_of({"w": np.ones((2, 2))}, layout="jax")


class TestIncoming:
    def test_serialises_as_itself(self):
        constraint = MaxNorm(2.0, axis="incoming")
        assert serialize(constraint)["config"] == {"max_value": 2.0, "axis": "incoming"}
        assert deserialize(serialize(constraint)) == constraint

    def test_is_an_error_on_a_bare_array_that_says_what_to_write(self):
        with pytest.raises(ValueError, match=r"UnitNorm: axis='incoming' is known.*layout="):
            UnitNorm("incoming")(np.ones((3, 2)))

    def test_keras_has_no_such_axis(self):
        with pytest.raises(ValueError, match="Keras has no axis 'incoming'"):
            serialize(MaxNorm(2.0, axis="incoming"), dialect="keras")

    def test_is_one_number_where_it_is_one_dimension(self):
        weight = Weight("w", np.ones((3, 2)), Role("Dense", "dense", (0,)))
        assert resolved(UnitNorm("incoming"), weight) == UnitNorm(axis=0)
        assert resolved(UnitNorm(axis=1), weight) == UnitNorm(axis=1)
        assert resolved(NonNeg(), weight) == NonNeg()

    def test_a_weight_that_no_layer_is_known_of(self):
        with pytest.raises(ValueError, match="pass the model, or layout='torch' or layout="):
            resolved(UnitNorm("incoming"), Weight("w", np.ones((3, 2))))

    def test_more_dimensions_than_the_weight_has(self):
        weight = Weight("w", np.ones((3, 2)), Role("Conv1D", "conv", (0, 2)))
        with pytest.raises(ValueError, match=r"\(3, 2\) is not that of one Conv1D"):
            resolved(UnitNorm("incoming"), weight)

    def test_layers_that_share_a_weight_have_to_agree(self):
        weight = Weight(
            "a", np.ones((3, 2)), Role("Dense", "dense", (0,)),
            (("b", Role("Embedding", "embedding", (1,))),),
        )  # fmt: skip
        with pytest.raises(ValueError, match=r"Dense \(axis \(0,\)\) and Embedding.*share"):
            resolved(UnitNorm("incoming"), weight)

    def test_only_a_dataclass_gets_another_axis(self):
        class Own(Rescaling):
            axis = "incoming"
            measure = size = staticmethod(lambda *_: None)

            def interval(self):
                return None

        weight = Weight("w", np.ones((3, 2)), Role("Dense", "dense", (0,)))
        with pytest.raises(TypeError, match="Own has axis='incoming', and is not a dataclass"):
            resolved(Own(), weight)


class TestNamedArrays:
    def test_of_nested_containers(self):
        w = np.ones(2)
        found = weights_of({"a": {"b": w, "c": [w, w]}, "d": w})
        assert [weight.name for weight in found] == ["a.b", "a.c.0", "a.c.1", "d"]

    def test_of_pairs_names_and_weights(self):
        w = np.ones(2)
        found = weights_of([("a", w), "b", Weight("c", w)])
        assert [(weight.name, weight.shape) for weight in found] == [
            ("a", (2,)), ("b", None), ("c", (2,)),
        ]  # fmt: skip

    @pytest.mark.parametrize("wrong", [[np.ones(2)], 3, {"a": 3}, "w"], ids=str)
    def test_others_are_refused(self, wrong):
        with pytest.raises(TypeError, match="named weights are a mapping of names to arrays"):
            weights_of(wrong)


class TestModulesOfPyTorch:
    @pytest.fixture
    def nn(self):
        return pytest.importorskip("torch.nn")

    def roles(self, module):
        return {w.name: (w.kind, incoming(w.role)) for w in weights_of(module)}

    def test_the_axes_of_each_layer(self, nn):
        expected = [
            (nn.Linear(2, 3), "weight", "dense", (1,)),
            (nn.Bilinear(2, 3, 4), "weight", "dense", (1, 2)),
            (nn.Conv1d(2, 4, 3), "weight", "conv", (1, 2)),
            (nn.Conv2d(4, 8, 3, groups=2), "weight", "conv", (1, 2, 3)),
            (nn.Conv3d(4, 4, 3, groups=4), "weight", "conv", (1, 2, 3, 4)),
            (nn.ConvTranspose1d(2, 4, 3), "weight", "conv", (0, 2)),
            (nn.ConvTranspose2d(2, 4, 3), "weight", "conv", (0, 2, 3)),
            (nn.ConvTranspose3d(2, 4, 3), "weight", "conv", (0, 2, 3, 4)),
            (nn.ConvTranspose2d(4, 4, 3, groups=2), "weight", "conv", None),
            (nn.Embedding(5, 3), "weight", "embedding", (1,)),
            (nn.EmbeddingBag(5, 3), "weight", "embedding", (1,)),
            (nn.LSTM(2, 3), "weight_ih_l0", "recurrent", (1,)),
            (nn.LSTM(2, 4, proj_size=3), "weight_hr_l0", "recurrent", (1,)),
            (nn.GRU(2, 3, bidirectional=True), "weight_hh_l0_reverse", "recurrent", (1,)),
            (nn.RNNCell(2, 3), "weight_hh", "recurrent", (1,)),
            (nn.MultiheadAttention(4, 2), "in_proj_weight", "attention", (1,)),
            (nn.MultiheadAttention(4, 2), "out_proj.weight", "attention", (1,)),
            (nn.MultiheadAttention(4, 2, kdim=3), "k_proj_weight", "attention", (1,)),
            (nn.BatchNorm2d(3), "weight", "norm", None),
            (nn.LayerNorm(3), "bias", "norm", None),
            (nn.RMSNorm(3), "weight", "norm", None),
            (nn.GroupNorm(1, 3), "weight", "norm", None),
            (nn.LSTM(2, 3), "bias_hh_l0", "bias", None),
            (nn.MultiheadAttention(4, 2), "in_proj_bias", "bias", None),
            (nn.PReLU(), "weight", "other", None),
        ]
        for module, name, kind, axes in expected:
            assert self.roles(module)[name] == (kind, axes), (module, name)

    def test_a_subclass_is_the_layer_that_it_derives_from(self, nn):
        class Own(nn.Linear):
            pass

        assert self.roles(Own(2, 3))["weight"] == ("dense", (1,))

    def test_a_layer_that_is_not_known(self, nn):
        import torch

        module = nn.Module()
        module.w = nn.Parameter(torch.ones(2, 2))
        (weight,) = weights_of(module)
        assert weight.kind == "other"
        with pytest.raises(ValueError, match="the layout of Module is not known"):
            resolved(UnitNorm("incoming"), weight)

    def test_names_are_seen_through_wrappers(self, nn):
        inner = nn.Sequential(nn.Linear(2, 2, bias=False))
        wrapped = nn.DataParallel(inner)
        assert list(self.roles(wrapped)) == ["0.weight"]
        holder = nn.Module()
        holder.module = inner  # a name that the user gave
        assert list(self.roles(holder)) == ["module.0.weight"]

    def test_lazy_parameters_have_no_shape_yet(self, nn):
        weights = weights_of(nn.LazyLinear(3))
        assert [weight.shape for weight in weights] == [None, None]


def test_kinds_are_those_that_are_documented():
    assert KINDS == (
        "dense", "conv", "embedding", "recurrent", "attention", "norm", "bias", "other",
    )  # fmt: skip
