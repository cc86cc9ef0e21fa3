"""Train a network on handwritten digits in NumPy alone, each layer under its own constraint.

The network and its training are written out below; the data are the 1,797 images of digits that
scikit-learn ships. A weight is a matrix of shape (inputs, units), so with ``axis=0`` a slice is
a column: the incoming weights of one unit. After each step, the constraint of a layer brings its
weight back in place: ``constraint(weight, copy=False)``.

The script prints

1. the largest violation in each layer: whatever a step leaves, the constraint brings it to 0;
   and the test accuracy with constraints and without, trained from the same seed;
2. the config of each constraint, which rebuilds an equal one after a trip through strict JSON;
3. how far the same weights come from an exact reference in each array library installed;

and fails where one of these does not hold. It draws the norms over the steps, takes a few
seconds, and runs from any folder::

    python docs/examples/digits.py [--epochs 40] [--seed 0] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import math
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import array_constraints as ac

Array = NDArray[Any]
Rule = ac.NormConstraint | ac.NonNeg

WIDTHS = (64, 64, 64, 64, 10)  # the pixels, three hidden layers, the classes
CONSTRAINTS: dict[str, Rule] = {
    "hidden 1": ac.MaxNorm(max_value=1.5, axis=0),
    "hidden 2": ac.MinMaxNorm(min_value=1.3, max_value=1.5, axis=0),
    "hidden 3": ac.UnitNorm(axis=0),
    "output": ac.NonNeg(),
}
BATCH_SIZE, LEARNING_RATE, MOMENTUM = 64, 0.05, 0.9

ROUNDOFF = 2.0**-24  # the unit roundoff u of float32
LIBRARIES = {  # the package, and its module that makes arrays
    "numpy": "numpy",
    "torch": "torch",
    "jax": "jax.numpy",
    "dask": "dask.array",
    "array_api_strict": "array_api_strict",
}


class Network:
    """Dense layers with ReLU between them, trained by gradient descent with momentum."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.weights: list[Array] = [
            rng.normal(0, math.sqrt(2 / n), (n, m)).astype(np.float32) for n, m in pairwise(WIDTHS)
        ]
        self.biases: list[Array] = [np.zeros(m, np.float32) for m in WIDTHS[1:]]
        self.velocities = [np.zeros_like(p) for p in self.weights + self.biases]

    def forward(self, images: Array) -> list[Array]:
        """Return the input of each layer, and the logits at the end."""
        values = [images]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values.append(np.maximum(values[-1] @ weight + bias, 0))
        return [*values, values[-1] @ self.weights[-1] + self.biases[-1]]

    def gradients(self, images: Array, labels: Array) -> list[Array]:
        """Return the gradients of the mean cross-entropy: by the weights, then by the biases."""
        *inputs, logits = self.forward(images)
        likelihoods = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = likelihoods / likelihoods.sum(axis=1, keepdims=True)
        delta = (probabilities - np.eye(WIDTHS[-1], dtype=np.float32)[labels]) / len(labels)
        by_weight, by_bias = [], []
        for values, weight in zip(reversed(inputs), reversed(self.weights), strict=True):
            by_weight.append(values.T @ delta)
            by_bias.append(delta.sum(axis=0))
            delta = (delta @ weight.T) * (values > 0)
        return by_weight[::-1] + by_bias[::-1]

    def step(self, images: Array, labels: Array) -> None:
        """Move weights and biases, in place, by one step on one batch."""
        parameters, slopes = self.weights + self.biases, self.gradients(images, labels)
        for parameter, velocity, slope in zip(parameters, self.velocities, slopes, strict=True):
            velocity *= MOMENTUM
            velocity -= LEARNING_RATE * slope
            parameter += velocity

    def accuracy(self, images: Array, labels: Array) -> float:
        """Return the share of images whose own class has the largest logit."""
        return float(np.mean(self.forward(images)[-1].argmax(axis=1) == labels))


@dataclass
class Run:
    """A trained network, and what each step (row) did to the weight of each layer (column)."""

    network: Network
    before: Array  # the largest violation once the step was taken
    after: Array  # the largest violation once the constraint was applied
    spread: Array  # the smallest, median and largest of what the constraint rules


def ruled(constraint: Rule, weight: Array) -> Array:
    """Return what the constraint rules: the entries, or the norms of the slices."""
    w = weight.astype(np.float64)
    return w if isinstance(constraint, ac.NonNeg) else np.linalg.norm(w, axis=constraint.axis)


def train(
    images: Array, labels: Array, epochs: int, seed: int, constrained: bool, progress: Progress
) -> Run:
    """Train a network whose constraints are applied after each step, or else only measured."""
    rng = np.random.default_rng(seed)
    network = Network(rng)
    layers = list(zip(network.weights, CONSTRAINTS.values(), strict=True))
    if constrained:  # the same first weights, brought to the nearest that are allowed
        for weight, constraint in layers:
            constraint(weight, copy=False)

    parts = math.ceil(len(images) / BATCH_SIZE)
    shuffled = [np.array_split(rng.permutation(len(images)), parts) for _ in range(epochs)]
    batches = [batch for epoch in shuffled for batch in epoch]
    before, after = np.empty((2, len(batches), len(layers)))
    spread = np.empty((len(batches), len(layers), 3))
    name = "with constraints" if constrained else "without constraints"
    for step, batch in enumerate(progress.track(batches, description=f"{name:19}")):
        network.step(images[batch], labels[batch])
        for layer, (weight, constraint) in enumerate(layers):
            before[step, layer] = constraint.violation(weight).max()
            if constrained:
                constraint(weight, copy=False)
            after[step, layer] = constraint.violation(weight).max()
            spread[step, layer] = np.quantile(ruled(constraint, weight), (0, 0.5, 1))
    return Run(network, before, after, spread)


def show_runs(console: Console, free: Run, held: Run, images: Array, labels: Array) -> None:
    """Print violations and accuracies; fail if a constraint left a violation behind."""
    table = Table(title="Largest violation in each layer, and test accuracy")
    table.add_column("layer", no_wrap=True)
    table.add_column("constraint")
    for column in ("with:\na step left", "with: the\nconstraint left", "without:\nat the end"):
        table.add_column(column, justify="right", no_wrap=True)
    for layer, (name, constraint) in enumerate(CONSTRAINTS.items()):
        largest = held.before.max(axis=0), held.after.max(axis=0), free.after[-1]
        table.add_row(name, str(constraint), *(f"{values[layer]:.2g}" for values in largest))
        table.add_section()
    accuracies = [f"{run.network.accuracy(images, labels):.1%}" for run in (held, free)]
    table.add_row("accuracy", f"on {len(labels)} test images", "", *accuracies)
    console.print(table)
    if np.any(held.after != 0):
        raise SystemExit("a constraint was violated right after it had been applied")


def show_configs(console: Console) -> None:
    """Print the config of each constraint; fail if it does not rebuild an equal one."""
    table = Table("config", "rebuilt", title="Constraints through strict JSON", show_lines=True)
    for constraint in CONSTRAINTS.values():
        config = json.dumps(ac.serialize(constraint), allow_nan=False)
        rebuilt = ac.deserialize(json.loads(config))
        if rebuilt != constraint:
            raise SystemExit(f"{config} rebuilt {rebuilt!r}, not {constraint!r}")
        table.add_row(config, "equal")
    console.print(table)


def exact(constraint: Rule, weight: Array) -> Array:
    """Return what the constraint should give: its definition, in extended precision."""
    w = weight.astype(np.longdouble)
    if isinstance(constraint, ac.NonNeg):
        return np.maximum(w, 0)
    norm = np.sqrt(np.sum(w * w, axis=constraint.axis, keepdims=True))
    lower, upper, _ = constraint.interval()
    return w * (np.clip(norm, lower, upper) / norm)


def tolerance(constraint: Rule, length: int) -> float:
    """Return by how many roundoffs an entry may be off in a slice of ``length`` entries."""
    if isinstance(constraint, ac.NonNeg):
        return 0
    promised = 12 if isinstance(constraint, ac.MaxNorm) else 8
    promised += 1.5 * math.ceil(math.log2(length))  # of the norm
    return promised + 2  # of an entry, which is rounded on its own


def roundoffs(result: Array, reference: Array) -> float:
    """Return the largest relative difference of an entry, in units of roundoff."""
    size = np.maximum(np.abs(reference), np.finfo(np.float32).smallest_normal)
    return float(np.max(np.abs(result - reference.astype(np.longdouble)) / size)) / ROUNDOFF


def show_libraries(console: Console, weights: list[Array]) -> None:
    """Print how far each library is from the exact result; fail if it is too far."""
    table = Table(title="Largest error of an entry, in u = 2^-24: from exact / from NumPy")
    table.add_column("library", no_wrap=True)
    pairs = list(zip(CONSTRAINTS.values(), weights, strict=True))
    for constraint in CONSTRAINTS.values():
        table.add_column(type(constraint).__name__, justify="right", no_wrap=True)
    failures = []
    for package in filter(importlib.util.find_spec, LIBRARIES):
        xp, cells = importlib.import_module(LIBRARIES[package]), []
        for constraint, weight in pairs:
            array = xp.asarray(weight)
            if package == "dask":
                array = array.rechunk(16)  # each slice lies in four chunks
            result = np.asarray(constraint(array))
            error = roundoffs(result, exact(constraint, weight))
            cells.append(f"{error:.1f} / {roundoffs(result, constraint(weight)):.1f}")
            if not error <= tolerance(constraint, len(weight)):  # NaN fails too
                failures.append(f"{package} is {error:.3g} u from the exact {constraint}")
        table.add_row(package, *cells)
    table.add_section()
    table.add_row("allowed", *(f"{tolerance(c, len(w)):g}    " for c, w in pairs))
    console.print(table)
    if failures:
        raise SystemExit("\n".join(failures))


def draw(free: Run, held: Run, path: Path) -> None:
    """Draw what each constraint rules over the steps, its bounds dashed."""
    figure = Figure(figsize=(9, 6.2), layout="constrained")
    grid = figure.subplots(2, 2, sharex=True)
    steps = np.arange(1, len(free.spread) + 1)
    for layer, (axes, (name, constraint)) in enumerate(
        zip(grid.flat, CONSTRAINTS.items(), strict=True)
    ):
        # Vermilion and blue of Okabe and Ito, which the colour-blind can tell apart.
        for run, label, colour in ((free, "without", "#d55e00"), (held, "with", "#0072b2")):
            low, median, high = run.spread[:, layer].T
            axes.fill_between(
                steps, low, high, color=colour, alpha=0.22, lw=0, label=f"{label}: range"
            )
            axes.plot(steps, median, color=colour, lw=1.8, label=f"{label}: median")
        entries = isinstance(constraint, ac.NonNeg)
        for bound in {0.0} if entries else {*constraint.interval()[:2]} - {0.0}:
            axes.axhline(bound, color="black", lw=1, ls=(0, (5, 3)), label="bound")
        axes.set_title(f"{name}: {type(constraint).__name__}", fontsize=11)
        axes.set_ylabel("entry" if entries else "Euclidean norm of a\nunit's incoming weights")
        axes.grid(alpha=0.25, lw=0.5)
        axes.margins(x=0)
    for axes in grid[1]:
        axes.set_xlabel("step")
    legend = dict(zip(*grid[0, 0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)


def main(argv: list[str] | None = None) -> None:
    """Train twice, then show what the constraints did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
    args = parser.parse_args(argv)

    digits = load_digits()
    images, test_images, labels, test_labels = train_test_split(
        (digits.data / 16).astype(np.float32), digits.target, random_state=args.seed
    )
    console = Console()
    with Progress(console=console) as progress:
        free, held = (
            train(images, labels, args.epochs, args.seed, constrained, progress)
            for constrained in (False, True)
        )
    show_runs(console, free, held, test_images, test_labels)
    show_configs(console)
    show_libraries(console, free.network.weights)
    path = args.output / "digits_norms.png"
    draw(free, held, path)
    console.print(f"The norms over the steps: {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
