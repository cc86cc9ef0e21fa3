"""Draw what constraints do: points in the plane, norms of slices, and the memory of files.

The pictures of the gallery are made by::

    python docs/examples/pictures.py docs/examples
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Annulus, Circle, Patch, Rectangle

import array_constraints as ac

PERFORMANCE = Path(__file__).parents[1] / "performance.md"
BEFORE, AFTER, ALLOWED = "#d55e00", "#0072b2", "#c4dff0"  # after Okabe and Ito
REACH = 2.3
IN_THE_PLANE: dict[str, tuple[ac.Constraint, Patch]] = {
    "MaxNorm(1.5): into a ball": (ac.MaxNorm(1.5), Circle((0, 0), 1.5)),
    "MinMaxNorm(0.8, 1.5): into a ring": (
        ac.MinMaxNorm(0.8, 1.5),
        Annulus((0, 0), 1.5, 0.7),
    ),
    "UnitNorm(): onto a circle": (ac.UnitNorm(), Circle((0, 0), 1)),
    "NonNeg(): into a quadrant": (ac.NonNeg(), Rectangle((0, 0), REACH, REACH)),
}


def draw_plane(axes: Axes, title: str, constraint: ac.Constraint, allowed: Patch) -> None:
    """Draw points, where a constraint brings them, and the set of what is allowed."""
    points = np.random.default_rng(3).uniform(-2.1, 2.1, (2, 26))  # a column is a slice
    moved = constraint(points)
    inside = (points == moved).all(axis=0)
    line = isinstance(constraint, ac.UnitNorm)
    allowed.set(facecolor="none" if line else ALLOWED, edgecolor=AFTER, lw=1.2)
    axes.add_patch(allowed)
    for start, end in zip(points.T[~inside], moved.T[~inside], strict=True):
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "0.45"})
    axes.scatter(*points[:, ~inside], s=16, color=BEFORE, zorder=3)
    axes.scatter(*moved, s=16, color=AFTER, zorder=3)
    axes.set(aspect="equal", xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=[], yticks=[])
    axes.axhline(0, color="0.8", lw=0.8, zorder=0)
    axes.axvline(0, color="0.8", lw=0.8, zorder=0)
    axes.set_title(title, fontsize=10)


def plane() -> Figure:
    """Draw what each constraint does to points in the plane."""
    figure = Figure(figsize=(7.2, 7.4), layout="constrained")
    for axes, (title, both) in zip(
        figure.subplots(2, 2).flat, IN_THE_PLANE.items(), strict=True
    ):
        draw_plane(axes, title, *both)
    return figure


def norms() -> Figure:
    """Draw how the norms of slices are distributed before and after each constraint."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((64, 2000)) * rng.uniform(0.05, 0.4, 2000)
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    constraints = {
        "MaxNorm(2)": ac.MaxNorm(2.0),
        "MinMaxNorm(1, 2)": ac.MinMaxNorm(1.0, 2.0),
        "UnitNorm()": ac.UnitNorm(),
    }
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (title, constraint) in zip(panels, constraints.items(), strict=True):
        bins = np.linspace(-0.05, 3.95, 41)
        for values, color, label in (
            (weight, BEFORE, "before"),
            (constraint(weight), AFTER, "after"),
        ):
            lengths = np.linalg.norm(values, axis=0)
            axes.hist(
                lengths, bins, histtype="stepfilled", color=color, alpha=0.65, label=label
            )
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="norm of a slice", yscale="log", ylim=(1, 2500))
        axes.legend(frameon=False, fontsize=9)
    figure.axes[0].set_ylabel("slices")
    return figure


def memory() -> Figure:
    """Draw the peak memory of constraining files, from the table on performance."""
    text = PERFORMANCE.read_text("utf-8")
    (across,) = re.findall(r"slices across chunks \| (\d+) MiB \| (\d+) \| (\d+)", text)
    (expression,) = re.findall(
        r"plain expression on a Dask array, axis 0 \| ([\d.]+) GiB", text
    )
    bars = {
        f"project, file of {size} GiB": float(peak)
        for size, peak in zip((1, 2, 4), across, strict=True)
    } | {"the plain expression on\na Dask array of 1 GiB": 1024 * float(expression)}
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(bars), list(bars.values()), color=[AFTER] * 3 + [BEFORE])
    for place, peak in enumerate(bars.values()):
        axes.text(peak * 1.1, place, f"{peak:.0f} MiB", va="center")
    axes.set(xscale="log", xlim=(10, 2e4), xlabel="peak memory above the imports, MiB")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(folder: Path) -> None:
    """Write the pictures into a folder."""
    matplotlib.rcParams.update({"svg.hashsalt": "pictures", "svg.fonttype": "none"})
    folder.mkdir(exist_ok=True)
    for picture in (plane, norms, memory):
        picture().savefig(folder / f"{picture.__name__}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
