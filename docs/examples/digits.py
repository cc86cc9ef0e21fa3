"""Train a network on handwritten digits in NumPy alone, each layer under its own constraint.

A weight is a matrix of shape (inputs, units): with ``axis=0`` a slice is a column, the incoming
weights of one unit. After each step ``constraint(weight, copy=False)`` brings it back in place.
Prints violations, configs, and how far each array library is from an exact reference; fails if
anything is off; and draws the norms over the steps::

    python docs/examples/digits.py [--epochs 40] [--seed 0] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rich
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import array_constraints as ac

Array = NDArray[Any]
Constraint = ac.NormConstraint | ac.NonNeg

WIDTHS = (64, 64, 64, 64, 10)  # the pixels, three hidden layers, the classes
CONSTRAINTS: dict[str, Constraint] = {
    "hidden 1": ac.MaxNorm(max_value=1.75, axis=0),
    "hidden 2": ac.MinMaxNorm(min_value=1.3, max_value=1.6, axis=0),
    "hidden 3": ac.UnitNorm(axis=0),
    "output": ac.NonNeg(),
}
BATCH_SIZE, LEARNING_RATE, MOMENTUM = 64, 0.05, 0.9

ROUNDOFF = 2.0**-24  # the unit roundoff of float32
LIBRARIES = ("numpy", "torch", "jax.numpy", "dask.array", "array_api_strict")
WHY_BELOW = """\
MaxNorm and MinMaxNorm are some 12 roundoffs off on purpose: a slice that is projected never
exceeds its bound, not even by a roundoff, so it is aimed at a norm slightly inside
(docs/numerics.md derives by how much). UnitNorm aims at 1 itself."""
# Line and fill, after Okabe and Ito: the colour-blind tell them apart.
FREE_COLOURS, HELD_COLOURS = ("#d55e00", "#f7dfcc"), ("#0072b2", "#c4dff0")


@dataclass
class Run:
    """The trained weights, and what was measured: one row per step, one column per layer."""

    weights: list[Array]
    before: list[list[float]] = field(default_factory=list)  # the violations a step left
    after: list[list[float]] = field(default_factory=list)  # those the constraint left
    spreads: list[list[Array]] = field(default_factory=list)


def constrain(weights: list[Array]) -> None:
    """Bring the weight of each layer into its allowed set, in place."""
    for constraint, weight in zip(CONSTRAINTS.values(), weights, strict=True):
        constraint(weight, copy=False)


def violations(weights: list[Array]) -> list[float]:
    """Return the largest violation of each layer, 0 where its constraint holds."""
    layers = zip(CONSTRAINTS.values(), weights, strict=True)
    return [float(constraint.violation(weight).max()) for constraint, weight in layers]


def spread(constraint: Constraint, weight: Array) -> Array:
    """Return the least, median and largest of what is constrained: the norms or the entries."""
    values: Array = weight.astype(np.float64)
    if isinstance(constraint, ac.NormConstraint):
        values = np.asarray(np.linalg.norm(values, axis=constraint.axis))
    return np.quantile(values, (0, 0.5, 1))


def forward(images: Array, weights: list[Array]) -> list[Array]:
    """Return the input of each layer, and the logits at the end."""
    values = [images]
    for weight in weights[:-1]:
        values.append(np.maximum(values[-1] @ weight, 0))
    return [*values, values[-1] @ weights[-1]]


def gradients(images: Array, labels: Array, weights: list[Array]) -> list[Array]:
    """Return the gradient of the mean cross-entropy with respect to each weight."""
    *inputs, logits = forward(images, weights)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    truth = np.eye(WIDTHS[-1], dtype=np.float32)[labels]
    error = (odds / odds.sum(axis=1, keepdims=True) - truth) / len(labels)
    slopes = []
    for values, weight in zip(reversed(inputs), reversed(weights), strict=True):
        slopes.append(values.T @ error)
        error = (error @ weight.T) * (values > 0)
    return slopes[::-1]


def accuracy(images: Array, labels: Array, weights: list[Array]) -> float:
    """Return the share of images whose own class has the largest logit."""
    return float(np.mean(forward(images, weights)[-1].argmax(axis=1) == labels))


def shuffled_batches(rng: np.random.Generator, images: int, epochs: int) -> list[Array]:
    """Return the positions of the images of each batch, over all epochs."""
    parts = math.ceil(images / BATCH_SIZE)
    shuffled = (np.array_split(rng.permutation(images), parts) for _ in range(epochs))
    return [batch for epoch in shuffled for batch in epoch]


def train(images: Array, labels: Array, epochs: int, seed: int, constrained: bool) -> Run:
    """Train by gradient descent with momentum, and measure each layer after each step."""
    rng = np.random.default_rng(seed)
    shapes = pairwise(WIDTHS)
    weights = [rng.normal(0, math.sqrt(2 / n), (n, m)).astype(np.float32) for n, m in shapes]
    velocities = [np.zeros_like(weight) for weight in weights]
    if constrained:
        constrain(weights)

    run = Run(weights)
    name = "with constraints" if constrained else "without constraints"
    for batch in track(shuffled_batches(rng, len(images), epochs), description=f"{name:19}"):
        slopes = gradients(images[batch], labels[batch], weights)
        for weight, velocity, slope in zip(weights, velocities, slopes, strict=True):
            velocity *= MOMENTUM
            velocity -= LEARNING_RATE * slope
            weight += velocity
        run.before.append(violations(weights))
        if constrained:
            constrain(weights)
        run.after.append(violations(weights))
        run.spreads.append(list(map(spread, CONSTRAINTS.values(), weights)))
    return run


def show_training(free: Run, held: Run, images: Array, labels: Array) -> None:
    """Print violations and accuracies; fail if a constraint left a violation."""
    table = Table(title="Largest violation of each layer", show_lines=True)
    table.caption = "with constraints: over all steps; without: at the end"
    table.add_column("layer", no_wrap=True)
    table.add_column("constraint")
    for column in ("after\na step", "after the\nconstraint", "without\nconstraints"):
        table.add_column(column, justify="right", no_wrap=True)
    columns = np.max(held.before, axis=0), np.max(held.after, axis=0), free.after[-1]
    for (name, constraint), *row in zip(CONSTRAINTS.items(), *columns, strict=True):
        table.add_row(name, str(constraint), *(f"{x:.3f}" if x else "0" for x in row))
    shares = [f"{accuracy(images, labels, run.weights):.1%}" for run in (held, free)]
    table.add_row("accuracy", f"on {len(labels)} test images", "", *shares)
    rich.print(table)
    if np.any(held.after):
        raise SystemExit("a constraint was violated right after it had been applied")


def show_configs() -> None:
    """Print the config of each constraint; fail if it does not rebuild an equal one."""
    table = Table("config", "rebuilt", title="Configs through strict JSON", show_lines=True)
    for constraint in CONSTRAINTS.values():
        config = json.dumps(ac.serialize(constraint), allow_nan=False)
        rebuilt = ac.deserialize(json.loads(config))
        if rebuilt != constraint:
            raise SystemExit(f"{config} rebuilt {rebuilt!r}, not {constraint!r}")
        table.add_row(config, "equal")
    rich.print(table)


def exact(constraint: Constraint, weight: Array) -> Array:
    """Return what the constraint should give: its definition, in extended precision."""
    w = weight.astype(np.longdouble)
    if isinstance(constraint, ac.NonNeg):
        return np.maximum(w, 0)
    norm = np.sqrt(np.sum(w * w, axis=constraint.axis, keepdims=True))
    lower, upper, _ = constraint.interval()
    return np.asarray(w * (np.clip(norm, lower, upper) / norm))


def computed(name: str, weights: list[Array]) -> list[Array]:
    """Return what the constraints give in one array library."""
    library = importlib.import_module(name)
    arrays = [library.asarray(weight) for weight in weights]
    if name == "dask.array":
        arrays = [array.rechunk(16) for array in arrays]  # four chunks to a slice
    pairs = zip(CONSTRAINTS.values(), arrays, strict=True)
    return [np.asarray(constraint(array)) for constraint, array in pairs]


def roundoffs(result: Array, reference: Array) -> float:
    """Return the largest relative difference of an entry, in roundoffs."""
    size = np.maximum(np.abs(reference), np.finfo(np.float32).smallest_normal)
    return float(np.max(np.abs(result.astype(np.longdouble) - reference) / size)) / ROUNDOFF


def tolerance(constraint: Constraint, weight: Array) -> float:
    """Return by how many roundoffs an entry may be off, by the library's numeric contract."""
    if isinstance(constraint, ac.NonNeg):
        return 0.0
    base = 8 if isinstance(constraint, ac.UnitNorm) else 12
    norm = base + 1.5 * math.ceil(math.log2(len(weight)))
    return norm + 2  # the contract bounds the norm of a slice; its entries are rounded besides


def show_libraries(weights: list[Array]) -> None:
    """Print how far each library is from the exact result; fail if one is too far."""
    table = Table("library", title="Largest error of an entry, from exact / from NumPy")
    table.caption = "in roundoffs of float32, each 2^-24 = 0.00000006 of the entry"
    for constraint in CONSTRAINTS.values():
        table.add_column(type(constraint).__name__)
    references = list(map(exact, CONSTRAINTS.values(), weights))
    tolerances = list(map(tolerance, CONSTRAINTS.values(), weights))
    in_numpy, too_far = computed("numpy", weights), []
    for name in LIBRARIES:
        if not importlib.util.find_spec(name.partition(".")[0]):
            continue  # not installed
        results = computed(name, weights)
        errors = list(map(roundoffs, results, references))
        apart = map(roundoffs, results, in_numpy)
        cells = (f"{e:4.1f} / {a:4.1f}" for e, a in zip(errors, apart, strict=True))
        table.add_row(name, *cells)
        pairs = zip(errors, tolerances, strict=True)
        if not all(error <= allowed for error, allowed in pairs):  # NaN is too far as well
            too_far.append(name)
    table.add_section()
    table.add_row("allowed", *(f"{allowed:4.1f}" for allowed in tolerances))
    rich.print(table)
    print(WHY_BELOW)
    if too_far:
        raise SystemExit(f"too far from the exact result: {', '.join(too_far)}")


def draw_layer(panel: Axes, constraint: Constraint, free: Array, held: Array) -> list[Any]:
    """Draw the spread in one layer over the steps; return what the legend explains."""
    steps, explained = np.arange(1, free.shape[1] + 1), []
    for (low, median, high), (line, fill) in ((free, FREE_COLOURS), (held, HELD_COLOURS)):
        band = panel.fill_between(steps, low, high, color=fill, lw=0)
        panel.plot(steps, low, steps, high, color=line, lw=0.8)
        explained.append((band, *panel.plot(steps, median, color=line, lw=2)))
    if isinstance(constraint, ac.NonNeg):
        panel.set_ylabel("entry of the weight")
        bounds: list[Any] = [0]
    else:
        panel.set_ylabel("Euclidean norm of a\nunit's incoming weights")
        bounds = [bound for bound in constraint.interval()[:2] if bound != 0]
    dashes = [panel.axhline(bound, color="black", lw=1.2, ls="--") for bound in bounds]
    panel.grid(alpha=0.25)
    panel.margins(x=0, y=0.08)
    return [*explained, dashes[0]]


def draw(free: Run, held: Run, path: Path) -> None:
    """Save a picture of what is constrained in each layer, its bounds dashed."""
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    spreads: list[Array] = [np.transpose(run.spreads) for run in (free, held)]
    for layer, (name, constraint) in enumerate(CONSTRAINTS.items()):
        panel = panels.flat[layer]
        panel.set_title(f"{name}: {type(constraint).__name__}")
        panel.set_xlabel("step" if layer > 1 else "")
        explained = draw_layer(panel, constraint, *(each[:, layer] for each in spreads))
    labels = [f"{word} constraints: median and range" for word in ("without", "with")]
    figure.legend(
        explained, [*labels, "bound"], loc="outside lower center", ncols=3, frameon=False
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)


def main(argv: list[str] | None = None) -> None:
    """Train without constraints and with them, and show what they did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    output = Path(__file__).parent / "output"
    parser.add_argument("--output", type=Path, default=output, help="folder of the picture")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {args.epochs}")
    digits = load_digits()
    pixels = (digits.data / 16).astype(np.float32)
    split = train_test_split(pixels, digits.target, random_state=args.seed)
    images, test_images, labels, test_labels = split
    free = train(images, labels, args.epochs, args.seed, constrained=False)
    held = train(images, labels, args.epochs, args.seed, constrained=True)
    show_training(free, held, test_images, test_labels)
    show_configs()
    show_libraries(free.weights)
    picture = args.output / "digits_norms.png"
    draw(free, held, picture)
    print(f"norms over the steps: {picture}")


if __name__ == "__main__":
    main()
