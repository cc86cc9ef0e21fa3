"""Draw each set: where its constraint brings points of the plane, or the entries of a matrix.

Orange is before, blue after, light blue what is allowed. The pictures of the page "The sets"
are made by::

    python docs/examples/sets.py docs/sets
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

import array_constraints as ac

BEFORE, AFTER, ALLOWED = "#d55e00", "#0072b2", "#c4dff0"  # after Okabe and Ito
GREY, LIGHT = "#777777", "#cccccc"
WIDTH = 120
"""Pixels of a picture; the plane is drawn in a square."""
UNIT = 26
"""Pixels from 0 to 1 in the plane."""
FAR = 9.0
"""A coordinate far outside of the picture."""
Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Plane:
    """A picture of points in the plane, each a slice of two entries.

    Parameters
    ----------
    outlines
        The corners of what is allowed: of an area, of a line, or single points.
    style
        ``"area"``, ``"line"`` or ``"points"``; areas within each other leave a hole.
    """

    outlines: tuple[tuple[Point, ...], ...]
    style: str = "area"

    def drawn(self, constraint: ac.Constraint) -> str:
        """Return the picture: what is allowed, and where points go."""
        before = points()
        after = constraint(before)
        axes = ((-FAR, 0.0), (FAR, 0.0)), ((0.0, -FAR), (0.0, FAR))
        parts = [*self._allowed(), _path(axes, LIGHT)]
        pairs = [(tuple(a), tuple(b)) for a, b in zip(before.T, after.T, strict=True)]
        moved = [(a, b) for a, b in pairs if a != b]
        parts += [_path([pair], GREY) for pair in moved]
        parts += [_dot(a, 2.1, "white", BEFORE) for a, _ in moved]
        parts += [_dot(b, 2.3, AFTER) for _, b in pairs]
        return _svg(parts, WIDTH, WIDTH)

    def _allowed(self) -> Iterator[str]:
        if self.style == "points":
            yield from (
                _dot(p, 5, ALLOWED, AFTER) for outline in self.outlines for p in outline
            )
        elif self.style == "line":
            yield _path(self.outlines, AFTER, width=1.6)
        else:
            closed = [(*outline, outline[0]) for outline in self.outlines]
            yield _path(closed, AFTER, ALLOWED, width=1.2)


@dataclass(frozen=True)
class Cells:
    """A picture of the entries of a matrix before and after: the darker, the larger.

    Parameters
    ----------
    shape
        The shape of the weight, whose first two dimensions are drawn.
    group
        How many columns are drawn close together.
    """

    shape: tuple[int, ...]
    group: int | None = None

    def drawn(self, constraint: ac.Constraint) -> str:
        """Return the picture: the matrix before and after, side by side if they fit."""
        before = weight(self.shape)
        rows, columns = self.shape[:2]
        beneath = columns > rows
        gap = 4 if self.group else 0
        cell = ((WIDTH - 4 if beneath else (WIDTH - 24) / 2) - gap) // columns
        width, height = columns * cell + gap, rows * cell
        left, arrow = (WIDTH - width) / 2 if beneath else 2, 16
        second = (left, 2 + height + arrow) if beneath else (WIDTH - 2 - width, 2)
        parts = [*self._matrix(before, left, 2, cell, BEFORE)]
        parts += self._matrix(constraint(before), *second, cell, AFTER)
        start = (WIDTH / 2, height + 4) if beneath else (left + width + 4, 2 + height / 2)
        stop = (start[0], start[1] + arrow - 4) if beneath else (second[0] - 3, start[1])
        parts.append(_arrow(start, stop))
        return _svg(parts, WIDTH, second[1] + height + 2)

    def _matrix(
        self, w: np.ndarray, left: float, top: float, cell: float, color: str
    ) -> Iterator[str]:
        flat = np.reshape(w, w.shape[:2])
        for (i, j), value in np.ndenumerate(flat):
            x = left + j * cell + (4 * (j // self.group) if self.group else 0)
            shade = f' fill-opacity="{0.2 + 0.8 * abs(value):.2f}"' if value else ""
            yield (
                f'<rect x="{x:.1f}" y="{top + i * cell:.1f}" width="{cell - 1:.1f}" '
                f'height="{cell - 1:.1f}" fill="{color if value else "white"}"{shade} '
                f'stroke="{LIGHT}" stroke-width="0.6"/>'
            )


def points() -> np.ndarray:
    """Return points of the plane, as columns: a square grid, turned and shifted."""
    steps = np.arange(4) - 1.5
    x, y = np.tile(steps, 4) + 0.12, np.repeat(steps, 4) + 0.2
    c, s = math.cos(0.3), math.sin(0.3)
    return np.stack([c * x - s * y, s * x + c * y])


def weight(shape: tuple[int, ...]) -> np.ndarray:
    """Return a weight whose entries are between 0.1 and 1, no two of them near each other."""
    n = math.prod(shape)
    return np.reshape((7 * np.arange(n) % n + 1) / n, shape) * 0.9 + 0.1


def round_line(radius: float) -> tuple[Point, ...]:
    """Return the corners of a polygon that looks like a circle."""
    angles = (math.tau * i / 72 for i in range(72))
    return tuple((radius * math.cos(a), radius * math.sin(a)) for a in angles)


def disc(radius: float) -> Plane:
    return Plane((round_line(radius),))


def circle(radius: float) -> Plane:
    return Plane(((*round_line(radius), (radius, 0.0)),), "line")


def ring(inner: float, outer: float) -> Plane:
    return Plane((round_line(outer), round_line(inner)))


def box(low: float, high: float) -> Plane:
    return Plane((((low, low), (high, low), (high, high), (low, high)),))


def hyperplane(normal: Point, value: float) -> Plane:
    """Return the line of the points whose inner product with ``normal`` is ``value``."""
    return Plane((_across(normal, value),), "line")


def halfspace(normal: Point, bound: float) -> Plane:
    """Return the points whose inner product with ``normal`` is at most ``bound``."""
    far = bound - FAR * math.hypot(*normal)
    return Plane(((*_across(normal, bound), *_across(normal, far)[::-1]),))


def simplex(total: float) -> Plane:
    return Plane((((total, 0.0), (0.0, total)),), "line")


def l1_ball(radius: float) -> Plane:
    r = radius
    return Plane((((r, 0.0), (0.0, r), (-r, 0.0), (0.0, -r)),))


def quarter_disc(radius: float) -> Plane:
    arc = (p for p in round_line(radius) if p[0] > 1e-9 and p[1] > 1e-9)
    return Plane((((0.0, 0.0), (radius, 0.0), *arc, (0.0, radius)),))


def axes() -> Plane:
    return Plane((((-FAR, 0.0), (FAR, 0.0)), ((0.0, -FAR), (0.0, FAR))), "line")


def single(*allowed: Point) -> Plane:
    return Plane((allowed,), "points")


def _across(normal: Point, value: float) -> tuple[Point, Point]:
    """Return two far ends of the line across a normal."""
    a, b = normal
    square = a * a + b * b
    t = FAR / math.sqrt(square)
    x, y = a * value / square, b * value / square
    return (x - t * b, y + t * a), (x + t * b, y - t * a)


PATTERN = [[True, False, True, True], [False, True, False, True],
           [True, True, False, False], [False, True, True, False]]  # fmt: skip

SETS: dict[str, tuple[ac.Constraint, Plane | Cells]] = {
    "NonNeg": (ac.NonNeg(), box(0.0, FAR)),
    "Box": (ac.Box(-1.0, 1.5), box(-1.0, 1.5)),
    "MaxNorm": (ac.MaxNorm(1.3), disc(1.3)),
    "MinMaxNorm": (ac.MinMaxNorm(0.75, 1.4), ring(0.75, 1.4)),
    "UnitNorm": (ac.UnitNorm(), circle(1.0)),
    "Sphere": (ac.Sphere(1.6), circle(1.6)),
    "Mean": (ac.Mean(), hyperplane((1.0, 1.0), 0.0)),
    "Sum": (ac.Sum(1.0), hyperplane((1.0, 1.0), 1.0)),
    "Standardized": (ac.Standardized(), single((1.0, -1.0), (-1.0, 1.0))),
    "Simplex": (ac.Simplex(1.5), simplex(1.5)),
    "L1Ball": (ac.L1Ball(1.5), l1_ball(1.5)),
    "Sparse": (ac.Sparse(1), axes()),
    "Halfspace": (ac.Halfspace([1.0, 2.0], 1.5), halfspace((1.0, 2.0), 1.5)),
    "Hyperplane": (ac.Hyperplane([1.0, 2.0], 1.5), hyperplane((1.0, 2.0), 1.5)),
    "Monotone": (ac.Monotone(), halfspace((1.0, -1.0), 0.0)),
    "Mask": (ac.Mask(PATTERN), Cells((4, 4))),
    "Triangular": (ac.Triangular(), Cells((4, 4))),
    "Banded": (ac.Banded(1, 1), Cells((4, 4))),
    "NMSparse": (ac.NMSparse(2, 4), Cells((4, 8), group=4)),
    "RadialConstraint": (ac.RadialConstraint(), Cells((5, 5, 1, 1))),
}
"""Each set that is drawn: an example of the constraint, and the kind of its picture."""

MADE_OF_OTHERS: dict[str, tuple[ac.Constraint, Plane | Cells]] = {
    "Chain": (ac.Chain([ac.NonNeg(), ac.MaxNorm(1.5)]), quarter_disc(1.5)),
    "Relaxed": (ac.Relaxed(ac.MaxNorm(1.0), 0.5), disc(1.0)),
    "Blocks": (ac.Blocks(ac.Triangular(), axis=1, size=4), Cells((4, 8), group=4)),
}
"""Constraints made of others, likewise."""


def _pixel(point: Sequence[float]) -> Point:
    x, y = point
    return WIDTH / 2 + UNIT * x, WIDTH / 2 - UNIT * y


def _path(
    lines: Iterable[Iterable[Point]], stroke: str, fill: str = "none", width: float = 0.8
) -> str:
    through = [" ".join(f"{x:.1f},{y:.1f}" for x, y in map(_pixel, line)) for line in lines]
    return (
        f'<path d="{" ".join(f"M{line}" for line in through)}" fill="{fill}" '
        f'fill-rule="evenodd" stroke="{stroke}" stroke-width="{width}"/>'
    )


def _dot(point: Sequence[float], radius: float, fill: str, stroke: str = "none") -> str:
    x, y = _pixel(point)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{stroke}"/>'


def _arrow(start: Point, stop: Point) -> str:
    """Return an arrow to the right, or down."""
    x, y = stop
    other = (x - 3, y + 3) if start[1] == y else (x + 3, y - 3)
    through = [start, stop, (x - 3, y - 3), stop, other]
    d = " ".join(f"{x:.1f},{y:.1f}" for x, y in through)
    return f'<path d="M{d}" fill="none" stroke="{GREY}"/>'


def _svg(parts: Sequence[str], width: float, height: float) -> str:
    lines = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">\n{lines}\n</svg>\n'
    )


def main(folder: Path) -> None:
    """Write a picture of each set into a folder."""
    folder.mkdir(exist_ok=True)
    for name, (constraint, picture) in (SETS | MADE_OF_OTHERS).items():
        (folder / f"{name}.svg").write_text(picture.drawn(constraint), "utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
