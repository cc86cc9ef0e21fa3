"""A model of many layers of Keras, and rules for it: for the tests beside it."""

from __future__ import annotations

import keras
from keras import layers

import array_constraints as ac
from array_constraints.rules import Rule, Rules

INCOMING = ac.MaxNorm(0.01, axis="incoming")
RULES = Rules(
    [
        Rule("*", INCOMING, kind=("conv", "embedding", "recurrent", "attention", "dense")),
        Rule("*", ac.NonNeg(), kind=("bias", "norm")),
    ]
)


def model() -> keras.Model:
    image, words = keras.Input((4, 4, 2)), keras.Input((3,), dtype="int32")
    x = layers.Conv2D(3, 2, name="conv")(image)
    x = layers.DepthwiseConv2D(2, name="depthwise")(x)
    x = layers.Flatten()(layers.BatchNormalization(name="norm")(x))
    y = layers.Embedding(5, 4, name="table")(words)
    y = layers.RMSNormalization(name="rms")(y)
    y = layers.LSTM(2, return_sequences=True, name="lstm")(y)
    y = layers.MultiHeadAttention(1, 2, name="attention")(y, y)
    inner = keras.Sequential(
        [keras.Input((3, 2)), layers.Dense(2, name="inside")], name="inner"
    )
    y = layers.Flatten()(inner(y))
    return keras.Model([image, words], layers.Concatenate()([x, y]), name="outer")
