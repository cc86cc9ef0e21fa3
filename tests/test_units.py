"""A unit is the same in every framework: weights of one layer, kept by each in its way.

The weights are PyTorch's; the other layouts are written here by hand. The axis of incoming
weights that is known of each layer has to find the same slices in all of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from array_constraints import MaxNorm
from array_constraints.layers import resolved, weights_of

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
keras = pytest.importorskip("keras")
eqx = pytest.importorskip("equinox")
pytest.importorskip("flax")

import jax.numpy as jnp  # noqa: E402
from flax import linen, nnx  # noqa: E402

from array_constraints.integrations.jax import described  # noqa: E402

KEY = jax.random.key(0)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def linen_weights(module, *inputs):
    params = jax.eval_shape(lambda: module.init(KEY, *inputs))["params"]
    return described(module, params, *inputs)


def nnx_weights(layer, *arguments, **options):
    return weights_of(nnx.eval_shape(lambda: layer(*arguments, **options, rngs=nnx.Rngs(0))))


def eqx_weights(layer, *arguments, **options):
    return weights_of(eqx.filter_eval_shape(layer, *arguments, **options, key=KEY))


def keras_weights(layer, *shapes):
    layer.build(*shapes)
    return weights_of(layer)


def hwio(w):
    return w.transpose(2, 3, 1, 0)


def gates(w, order):
    """Return PyTorch's gates, stacked in a matrix (gates * units, inputs), in another order."""
    return np.concatenate([np.split(w, len(order))[i] for i in order])


def dense():
    w = normal(5, 3)
    zeros = jnp.zeros((1, 3))
    yield weights_of(torch.nn.Linear(3, 5)), {"weight": (w, "w")}
    yield keras_weights(keras.layers.Dense(5), (1, 3)), {"kernel": (w.T, "w")}
    yield linen_weights(linen.Dense(5), zeros), {"kernel": (w.T, "w")}
    yield nnx_weights(nnx.Linear, 3, 5), {"kernel": (w.T, "w")}
    yield eqx_weights(eqx.nn.Linear, 3, 5), {"weight": (w, "w")}


def conv():
    w = normal(6, 3, 2, 5)
    x = (1, 7, 8, 3)
    yield weights_of(torch.nn.Conv2d(3, 6, (2, 5))), {"weight": (w, "w")}
    yield (
        keras_weights(keras.layers.Conv2D(6, (2, 5)), x),
        {"kernel": (hwio(w), "w")},
    )
    yield linen_weights(linen.Conv(6, (2, 5)), jnp.zeros(x)), {"kernel": (hwio(w), "w")}
    yield nnx_weights(nnx.Conv, 3, 6, (2, 5)), {"kernel": (hwio(w), "w")}
    yield eqx_weights(eqx.nn.Conv2d, 3, 6, (2, 5)), {"weight": (w, "w")}


def grouped_conv():
    w = normal(6, 2, 3, 5)
    x = (1, 7, 8, 4)
    yield weights_of(torch.nn.Conv2d(4, 6, (3, 5), groups=2)), {"weight": (w, "w")}
    yield (
        keras_weights(keras.layers.Conv2D(6, (3, 5), groups=2), x),
        {"kernel": (hwio(w), "w")},
    )
    module = linen.Conv(6, (3, 5), feature_group_count=2)
    yield linen_weights(module, jnp.zeros(x)), {"kernel": (hwio(w), "w")}
    weights = nnx_weights(nnx.Conv, 4, 6, (3, 5), feature_group_count=2)
    yield weights, {"kernel": (hwio(w), "w")}
    yield eqx_weights(eqx.nn.Conv2d, 4, 6, (3, 5), groups=2), {"weight": (w, "w")}


def depthwise_conv():
    w = normal(6, 1, 2, 5)  # three channels, two kernels each
    x = (1, 7, 8, 3)
    yield weights_of(torch.nn.Conv2d(3, 6, (2, 5), groups=3)), {"weight": (w, "w")}
    by_channel = w.reshape(3, 2, 2, 5).transpose(2, 3, 0, 1)
    yield (
        keras_weights(keras.layers.DepthwiseConv2D((2, 5), depth_multiplier=2), x),
        {"kernel": (by_channel, "w")},
    )
    module = linen.Conv(6, (2, 5), feature_group_count=3)
    yield linen_weights(module, jnp.zeros(x)), {"kernel": (hwio(w), "w")}
    weights = nnx_weights(nnx.Conv, 3, 6, (2, 5), feature_group_count=3)
    yield weights, {"kernel": (hwio(w), "w")}
    yield eqx_weights(eqx.nn.Conv2d, 3, 6, (2, 5), groups=3), {"weight": (w, "w")}


def transposed_conv():
    w = normal(3, 6, 2, 5)  # (in, out, *kernel)
    x = (1, 7, 8, 3)
    yield weights_of(torch.nn.ConvTranspose2d(3, 6, (2, 5))), {"weight": (w, "w")}
    outputs_first, inputs_first = w.transpose(2, 3, 1, 0), w.transpose(2, 3, 0, 1)
    yield (
        keras_weights(keras.layers.Conv2DTranspose(6, (2, 5)), x),
        {"kernel": (outputs_first, "w")},
    )
    for turned, kernel in ((False, inputs_first), (True, outputs_first)):
        module = linen.ConvTranspose(6, (2, 5), transpose_kernel=turned)
        yield linen_weights(module, jnp.zeros(x)), {"kernel": (kernel, "w")}
        weights = nnx_weights(nnx.ConvTranspose, 3, 6, (2, 5), transpose_kernel=turned)
        yield weights, {"kernel": (kernel, "w")}
    weights = eqx_weights(eqx.nn.ConvTranspose2d, 3, 6, (2, 5))
    yield weights, {"weight": (w.transpose(1, 0, 2, 3), "w")}


def embedding():
    w = normal(7, 3)
    ids = jnp.zeros((1, 2), int)
    yield weights_of(torch.nn.Embedding(7, 3)), {"weight": (w, "w")}
    yield (
        keras_weights(keras.layers.Embedding(7, 3), (1, 2)),
        {"embeddings": (w, "w")},
    )
    yield linen_weights(linen.Embed(7, 3), ids), {"embedding": (w, "w")}
    yield nnx_weights(nnx.Embed, 7, 3), {"embedding": (w, "w")}
    yield eqx_weights(eqx.nn.Embedding, 7, 3), {"weight": (w, "w")}


def recurrent(layer, names, keras_order):
    """Yield the gates of the inputs (``i...``) and of the state (``h...``) apart."""
    count = len(names)
    x, h = normal(count * 4, 3), normal(count * 4, 4, seed=1)
    parts = [[kind + name for name in names] for kind in "ih"]
    given = [(x, parts[0]), (h, parts[1])]
    yield (
        weights_of(getattr(torch.nn, layer)(3, 4)),
        dict(zip(("weight_ih_l0", "weight_hh_l0"), given, strict=True)),
    )
    order = [names.index(name) for name in keras_order]
    turned = [
        (gates(w, order).T, [kind + name for name in keras_order])
        for kind, w in (("i", x), ("h", h))
    ]
    weights = keras_weights(getattr(keras.layers, layer)(4), (1, 2, 3))
    yield weights, {"kernel": turned[0], "recurrent_kernel": turned[1]}
    each = {
        f"{part}/kernel": (w.T, [part])
        for kind, full in (("i", x), ("h", h))
        for part, w in zip([kind + n for n in names], np.split(full, count), strict=True)
    }
    cell = f"{layer}Cell"
    linen_cell = getattr(linen, cell)(4)
    inputs = linen_cell.initialize_carry(KEY, (1, 3)), jnp.zeros((1, 3))
    yield linen_weights(linen_cell, *inputs), each
    of_nnx = nnx_weights(getattr(nnx, cell), 3, 4)
    if any("dense_i" in weight.name for weight in of_nnx):  # the gates of one layer
        own = {"dense_i/kernel": (x.T, parts[0]), "dense_h/kernel": (h.T, parts[1])}
        yield of_nnx, own
    else:
        yield of_nnx, each
    of_equinox = eqx_weights(getattr(eqx.nn, cell), 3, 4)
    yield of_equinox, {"weight_ih": given[0], "weight_hh": given[1]}


def lstm():
    yield from recurrent("LSTM", "ifgo", "ifgo")


def gru():
    yield from recurrent("GRU", "rzn", "zrn")


def attention():
    """Two heads of three numbers each."""
    q, k, v, out = (normal(6, 6, seed=seed) for seed in range(4))
    both = np.concatenate([q, k, v])
    weights = weights_of(torch.nn.MultiheadAttention(6, 2))
    yield weights, {"in_proj_weight": (both, ["q", "k", "v"]), "out_proj/weight": (out, "o")}
    heads = {"query": q, "key": k, "value": v}
    cut = {
        name: (w.T.reshape(6, 2, 3), letter)
        for (name, w), letter in zip(heads.items(), "qkv", strict=True)
    }
    joined = out.T.reshape(2, 3, 6)
    x = jnp.zeros((1, 4, 6))
    layer = keras.layers.MultiHeadAttention(2, 3)
    weights = keras_weights(layer, (1, 4, 6), (1, 4, 6))
    own = {f"{name}/kernel": entry for name, entry in cut.items()}
    yield weights, own | {"attention_output/kernel": (joined, "o")}
    own |= {"out/kernel": (joined, "o")}
    yield linen_weights(linen.MultiHeadDotProductAttention(num_heads=2), x, x), own
    yield nnx_weights(nnx.MultiHeadAttention, 2, 6, decode=False), own
    weights = eqx_weights(eqx.nn.MultiheadAttention, 2, 6)
    own = {f"{n}_proj/weight": (w, p) for (n, w), p in zip(heads.items(), "qkv", strict=True)}
    yield weights, own | {"output_proj/weight": (out, "o")}


def matches(name, end):
    """Whether a name ends so; NNX calls one gate ``if_``, as ``if`` is a word of Python."""
    steps, wanted = name.replace("if_", "if").replace("/", ".").split("."), end.split("/")
    return steps[-len(wanted) :] == wanted


def norms_by_part(weights, values):
    """Return the norms of incoming slices of each part, from arrays by the ends of names."""
    found = {}
    for end, (array, parts) in values.items():
        (weight,) = [w for w in weights if matches(w.name, end)]
        assert weight.shape == array.shape, weight.name
        axis = resolved(MaxNorm(1.0, axis="incoming"), weight).axis
        norms = np.sqrt((array**2).sum(axis=axis)).ravel()
        found |= dict(zip(parts, np.split(norms, len(parts)), strict=True))
    return found


@pytest.mark.parametrize(
    "layer",
    [
        dense,
        conv,
        grouped_conv,
        depthwise_conv,
        transposed_conv,
        embedding,
        lstm,
        gru,
        attention,
    ],
    ids=lambda layer: layer.__name__,
)
def test_units_of_a_layer_are_the_same_in_every_framework(layer):
    of_torch, *others = (norms_by_part(weights, values) for weights, values in layer())
    assert len(others) >= 4
    for found in others:
        assert found.keys() == of_torch.keys()
        for part, norms in of_torch.items():
            np.testing.assert_allclose(found[part], norms, rtol=1e-12)
