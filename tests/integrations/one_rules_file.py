"""Train a network on the digits of scikit-learn under one file of rules, in one framework.

Run by test_one_rules_file.py: ``one_rules_file.py FRAMEWORK RULES``. A convolution network and
an LSTM read the image, and one layer both. Prints the units that each rule has found, by layer,
and how far each step has left a constraint violated.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter, defaultdict

import numpy as np
from sklearn.datasets import load_digits

from array_constraints.rules import read_rules

STEPS, BATCH = 5, 64
IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES / 16).astype("float32").reshape(-1, 8, 8)


def batches():
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        chosen = rng.choice(len(IMAGES), BATCH, replace=False)
        yield IMAGES[chosen], LABELS[chosen]


def train_torch(rules):
    import torch
    from torch import nn

    from array_constraints.integrations.torch import constrain

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
            self.body = nn.Linear(144, 16)
            self.lstm = nn.LSTM(8, 6, batch_first=True)
            self.head = nn.Linear(22, 10)

        def forward(self, x):
            kernels = torch.relu(self.norm(self.conv(x[:, None]))).flatten(1)
            _, (state, _) = self.lstm(x)
            return self.head(torch.cat([torch.relu(self.body(kernels)), state[0]], dim=1))

    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    held = constrain(model, rules, optimizer)
    yield {name: float(v) for name, v in held.violations().items()}
    for x, y in batches():
        optimizer.zero_grad()
        found = model(torch.from_numpy(x))
        nn.functional.cross_entropy(found, torch.from_numpy(y)).backward()
        optimizer.step()
        yield {name: float(v) for name, v in held.violations().items()}
    yield held.explain()


def train_keras(rules):
    import keras
    from keras import layers

    from array_constraints.integrations.keras import constrain

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8))
    x = layers.Reshape((8, 8, 1))(image)
    x = layers.ReLU()(
        layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(x))
    )
    x = layers.Dense(16, "relu", name="body")(layers.Flatten()(x))
    state = layers.LSTM(6, name="lstm")(image)
    model = keras.Model(image, layers.Dense(10, name="head")(layers.Concatenate()([x, state])))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    held = constrain(model, rules, verbose=False)
    yield held.violations()
    for x, y in batches():
        model.train_on_batch(x, y)
        yield held.violations()
    yield held.explain()


def trained_by_optax(rules, model, update):
    """Train a model of JAX: ``update`` returns it after a step."""
    import jax

    from array_constraints.integrations.jax import projection

    project = projection(model, rules)
    model = project(model)
    yield {name: float(v) for name, v in project.violations(model).items()}
    for x, y in batches():
        model = project(update(model, jax.numpy.asarray(x), jax.numpy.asarray(y)))
        yield {name: float(v) for name, v in project.violations(model).items()}
    yield project.explain(model)


def cross_entropy(scores, labels):
    import optax

    return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()


def train_flax(rules):
    import jax.numpy as jnp
    import optax
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv, self.norm = (
                nnx.Conv(1, 4, (3, 3), padding="VALID", rngs=rngs),
                nnx.BatchNorm(4, rngs=rngs),
            )
            self.body = nnx.Linear(144, 16, rngs=rngs)
            self.lstm = nnx.LSTMCell(8, 6, rngs=rngs)
            self.head = nnx.Linear(22, 10, rngs=rngs)

        def __call__(self, x):
            kernels = nnx.relu(self.norm(self.conv(x[..., None]))).reshape(len(x), -1)
            state = jnp.zeros((len(x), 6)), jnp.zeros((len(x), 6))
            for row in range(8):
                state, _ = self.lstm(state, x[:, row])
            both = [nnx.relu(self.body(kernels)), state[1]]
            return self.head(jnp.concatenate(both, axis=1))

    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(0.05), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x, y):
        gradients = nnx.grad(lambda model: cross_entropy(model(x), y))(model)
        optimizer.update(model, gradients)

    def update(model, x, y):
        step(model, optimizer, x, y)
        return model

    yield from trained_by_optax(rules, model, update)


def train_equinox(rules):
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: eqx.nn.LayerNorm
        body: eqx.nn.Linear
        lstm: eqx.nn.LSTMCell
        head: eqx.nn.Linear

        def __init__(self, key):
            keys = jax.random.split(key, 4)
            self.conv, self.norm = (
                eqx.nn.Conv2d(1, 4, 3, key=keys[0]),
                eqx.nn.LayerNorm((4, 6, 6)),
            )
            self.body = eqx.nn.Linear(144, 16, key=keys[1])
            self.lstm = eqx.nn.LSTMCell(8, 6, key=keys[2])
            self.head = eqx.nn.Linear(22, 10, key=keys[3])

        def __call__(self, x):
            kernels = jax.nn.relu(self.norm(self.conv(x[None]))).reshape(-1)
            state = jnp.zeros(6), jnp.zeros(6)
            for row in range(8):
                state = self.lstm(x[row], state)
            return self.head(jnp.concatenate([jax.nn.relu(self.body(kernels)), state[0]]))

    model = Net(jax.random.key(0))
    optimizer = optax.adam(0.05)
    state = [optimizer.init(eqx.filter(model, eqx.is_inexact_array))]

    @eqx.filter_jit
    def step(model, state, x, y):
        gradients = eqx.filter_grad(lambda model: cross_entropy(jax.vmap(model)(x), y))(model)
        updates, state = optimizer.update(gradients, state)
        return eqx.apply_updates(model, updates), state

    def update(model, x, y):
        model, state[0] = step(model, state[0], x, y)
        return model

    yield from trained_by_optax(rules, model, update)


def units(explanation):
    """Return for each layer and constraint how many slices there are of each length."""
    found = defaultdict(Counter)
    for selection in explanation.selections:
        layer = selection.weight.name.replace("/", ".").split(".")[0]
        constraint = type(selection.constraint).__qualname__
        entries = math.prod(selection.weight.shape)
        slices = entries if selection.slices is None else selection.slices
        found[f"{layer} {constraint}"][entries // slices] += slices
    return {name: dict(sorted(counts.items())) for name, counts in sorted(found.items())}


def main():
    framework, rules = sys.argv[1], read_rules(sys.argv[2])
    *violations, explanation = globals()[f"train_{framework}"](rules)
    print(json.dumps({"violations": violations, "units": units(explanation)}))


if __name__ == "__main__":
    main()
