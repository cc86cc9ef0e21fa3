"""Draw, for each type of layer, the incoming weights of one unit in the layouts of frameworks.

What is coloured is what ``axis="incoming"`` takes as one slice: it is asked of the layers
themselves. The pictures of the page "Which axis?" are made by::

    KERAS_BACKEND=jax python docs/examples/axes.py docs/axes
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from array_constraints.layers import weights_of

UNIT, OTHERS = "#0072b2", "#dddddd"  # after Okabe and Ito: the colour-blind tell them apart


@dataclass(frozen=True)
class Picture:
    """A weight: its layer, which weight of it, and the words for its dimensions."""

    title: str
    layer: object
    weight: str
    dimensions: tuple[str, ...]


def built(layer: keras.layers.Layer, *shape: int) -> keras.layers.Layer:
    layer(keras.Input(shape))
    return layer


def pictures() -> Iterator[tuple[str, list[Picture]]]:
    """Yield the pictures of each type of layer, by the name of its file."""
    layers = keras.layers
    gates = ("gate rows", "inputs")
    yield (
        "dense",
        [
            Picture("PyTorch Linear", nn.Linear(5, 3), "weight", ("outputs", "inputs")),
            Picture("Keras Dense", built(layers.Dense(3), 5), "kernel", ("inputs", "outputs")),
        ],
    )
    kernel = ("height", "width")
    yield (
        "convolution",
        [
            Picture("PyTorch Conv2d", nn.Conv2d(3, 4, 2), "weight", ("out", "in", *kernel)),
            Picture(
                "Keras Conv2D",
                built(layers.Conv2D(4, 2), 8, 8, 3),
                "kernel",
                (*kernel, "in", "out"),
            ),
        ],
    )
    yield "depthwise", [
        Picture(
            "PyTorch Conv2d, groups = in", nn.Conv2d(3, 6, 2, groups=3), "weight",
            ("out", "in / groups", *kernel),
        ),
        Picture(
            "Keras DepthwiseConv2D",
            built(layers.DepthwiseConv2D(2, depth_multiplier=2), 8, 8, 3),
            "kernel", (*kernel, "in", "multiplier"),
        ),
    ]  # fmt: skip
    yield "transposed", [
        Picture(
            "PyTorch ConvTranspose2d", nn.ConvTranspose2d(3, 4, 2), "weight",
            ("in", "out", *kernel),
        ),
        Picture(
            "Keras Conv2DTranspose", built(layers.Conv2DTranspose(4, 2), 8, 8, 3), "kernel",
            (*kernel, "out", "in"),
        ),
    ]  # fmt: skip
    yield "embedding", [
        Picture("PyTorch Embedding", nn.Embedding(6, 4), "weight", ("entries", "features")),
        Picture(
            "Keras Embedding", built(layers.Embedding(6, 4), 2), "embeddings",
            ("entries", "features"),
        ),
    ]  # fmt: skip
    yield (
        "recurrent",
        [
            Picture("PyTorch LSTM, weight_ih_l0", nn.LSTM(3, 2), "weight_ih_l0", gates),
            Picture(
                "Keras LSTM, kernel",
                built(layers.LSTM(2), 4, 3),
                "lstm_cell/kernel",
                gates[::-1],
            ),
        ],
    )
    heads = layers.MultiHeadAttention(2, 3)
    inputs = keras.Input((4, 5))
    heads(inputs, inputs)
    yield "attention", [
        Picture(
            "PyTorch MultiheadAttention, in_proj_weight", nn.MultiheadAttention(4, 2),
            "in_proj_weight", ("query, key, value", "inputs"),
        ),
        Picture("Keras, query kernel", heads, "query/kernel", ("inputs", "heads", "size")),
        Picture(
            "Keras, output kernel", heads, "attention_output/kernel",
            ("heads", "size", "outputs"),
        ),
    ]  # fmt: skip


def places(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], float, float]]:
    """Yield each index with where its cell is: the last two dimensions make blocks."""
    height, width = shape[-2:]
    for index in np.ndindex(*shape):
        row, column, y, x = (0, 0, 0, 0)[len(index) :] + index
        yield index, column * (width + 0.6) + x, -row * (height + 0.6) - y


def draw(axes: Axes, picture: Picture) -> None:
    """Draw the cells of a weight, those of one unit in colour."""
    (weight,) = (w for w in weights_of(picture.layer) if w.name == picture.weight)
    shape, incoming = weight.shape, weight.incoming
    unit = [1 if n > 1 else 0 for n in shape]
    for index, x, y in places(shape):
        same = all(index[i] == unit[i] for i in range(len(shape)) if i not in incoming)
        axes.add_patch(Rectangle((x, y), 0.92, 0.92, color=UNIT if same else OTHERS, lw=0))
    axes.set(aspect="equal")
    axes.autoscale_view()
    axes.axis("off")
    words = ", ".join(picture.dimensions)
    axis = incoming[0] if len(incoming) == 1 else incoming
    axes.set_title(f"{picture.title}\n({words})\naxis={axis}", fontsize=9)


def main(folder: Path) -> None:
    """Write one picture for each type of layer into a folder."""
    matplotlib.rcParams.update({"svg.hashsalt": "axes", "svg.fonttype": "none"})
    folder.mkdir(exist_ok=True)
    for name, row in pictures():
        figure = Figure(figsize=(3.4 * len(row), 2.6), layout="constrained")
        for axes, picture in zip(figure.subplots(1, len(row)), row, strict=True):
            draw(axes, picture)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
