"""Sphere, Mean, Sum, Standardized, Halfspace and Hyperplane, from scratch, slice by slice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_constraints_conformance.numerics.formats import Format, format_of

from faults.further.base import Further, dimensions, number, sliced_axis

Row = np.ndarray
_DOUBLE = 2.0**-53


class Sliced(Further):
    """Each slice is brought to the set alone: ``moved`` and ``away`` take a float64 row."""

    axis: Any

    def fit(self, shape: tuple[int, ...]) -> None:
        dimensions(self.axis, shape)

    def rows(self, w: np.ndarray) -> np.ndarray:
        axes = dimensions(self.axis, w.shape)
        kept = tuple(i for i in range(w.ndim) if i not in axes)
        count = math.prod(w.shape[i] for i in kept)
        length = math.prod(w.shape[i] for i in axes)
        return w.transpose(kept + axes).reshape(count, length)

    def project(self, w: np.ndarray) -> np.ndarray:
        axes = dimensions(self.axis, w.shape)
        order = tuple(i for i in range(w.ndim) if i not in axes) + axes
        rows = self.rows(w).copy()
        known = self.known("results", w)
        for i in range(len(rows) if w.size else 0):
            key = rows[i].tobytes()
            if key not in known:
                known[key] = self.settled(rows[i]).copy()
            rows[i] = known[key]
        lengths = [w.shape[i] for i in order]
        return rows.reshape(lengths).transpose(np.argsort(order)) if order else rows.reshape(())

    def known(self, what: str, w: np.ndarray) -> dict[bytes, Any]:
        """Return these of slices in the dtype so far: the suite brings the same ones often."""
        return vars(self).setdefault("_known", {}).setdefault((what, w.dtype.str), {})

    def settled(self, row: Row) -> Row:
        """Return a slice that was moved until it is kept, or as it was where it cannot be."""
        fmt, found = format_of(row.dtype), row
        for _ in range(6):
            values = found.astype(np.float64)
            if not np.isfinite(values).all():
                return row
            if self.keeps(values, fmt):
                return found
            moved = self.moved(values, fmt)
            if moved is None:
                return found
            found = moved.astype(row.dtype)
        return found

    def excess(self, w: np.ndarray) -> np.ndarray:
        axes = dimensions(self.axis, w.shape)
        lengths = [1 if i in axes else n for i, n in enumerate(w.shape)]
        fmt, found, known = format_of(w.dtype), [], self.known("violations", w)
        for row in self.rows(w).astype(np.float64):
            key = row.tobytes()
            if key not in known:
                known[key] = self.reported(row, fmt)
            found.append(known[key])
        return np.asarray(found if w.size else [], dtype=float).reshape(
            lengths
            if w.size
            else [n if m else 0 for n, m in zip(lengths, w.shape, strict=True)]
        )

    def reported(self, row: Row, fmt: Format) -> float:
        if np.isnan(row).any():
            return math.nan
        if np.isinf(row).any():
            return math.inf
        return 0.0 if self.keeps(row, fmt) else self.away(row, fmt)

    def keeps(self, row: Row, fmt: Format) -> bool:
        raise NotImplementedError

    def moved(self, row: Row, fmt: Format) -> Row | None:
        raise NotImplementedError

    def away(self, row: Row, fmt: Format) -> float:
        raise NotImplementedError


def exponent(row: Row) -> int:
    """Return the power of two above the largest magnitude."""
    return int(math.frexp(float(np.max(np.abs(row), initial=0.0)))[1])


def ldexp(x: float, e: int) -> float:
    try:
        return math.ldexp(x, e)
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class Sphere(Sliced):
    radius: float = 1.0
    axis: Any = 0
    unit: str = "norm"

    def __post_init__(self) -> None:
        if not isinstance(self.unit, str):
            raise TypeError(f"unit must be 'norm' or 'rms', got {self.unit!r}")
        if self.unit not in ("norm", "rms"):
            raise ValueError(f"unit must be 'norm' or 'rms', got {self.unit!r}")
        if number("radius", self.radius) < 0:
            raise ValueError(f"radius must not be negative, got {self.radius!r}")
        self.set(radius=number("radius", self.radius), axis=sliced_axis(self.axis))

    def scaled(self, row: Row) -> tuple[Row, float, int]:
        """Return the row over a power of two, its size in the unit, and the exponent."""
        e = exponent(row)
        short = np.ldexp(row, -e)
        size = math.sqrt(math.fsum(short * short))
        return short, size / math.sqrt(len(row)) if self.unit == "rms" else size, e

    def keeps(self, row: Row, fmt: Format) -> bool:
        _, size, e = self.scaled(row)
        near = 1.5 if fmt.digits < 53 else 6.0
        return abs(ldexp(size, e) / (self.radius or 1) - 1) <= near * float(fmt.u)

    def moved(self, row: Row, fmt: Format) -> Row | None:
        short, size, _ = self.scaled(row)
        return short / size * self.radius if size else None

    def away(self, row: Row, fmt: Format) -> float:
        _, size, e = self.scaled(row)
        return abs(ldexp(size, e) - self.radius)


class Affine(Sliced):
    """The inner product with ``a`` is ``b``, or at most that."""

    equality = True
    mean = False

    def coefficients(self, n: int) -> Row:
        return np.ones(n)

    def target(self, n: int) -> float:
        raise NotImplementedError

    def measured(self, row: Row, fmt: Format) -> tuple[Row, float, float, int]:
        """Return the row over a power of two, how much is too much, the band, the exponent."""
        n, a = len(row), self.coefficients(len(row))
        e = max(exponent(row) - 800, 0)  # only where sums could overflow
        short, b = np.ldexp(row, -e), math.ldexp(self.target(n), -e)
        terms = a * short
        mass = math.fsum(np.abs(terms))
        over = math.fsum([*terms, -b])
        own = 1.005 * float(fmt.u) * mass if fmt.digits < 53 else 0.0
        tiny = n * float(fmt.u) * math.ldexp(fmt.smallest, -e) * float(np.max(np.abs(a)))
        return short, over, own + 5 * _DOUBLE * (mass + abs(b)) + tiny, e

    def keeps(self, row: Row, fmt: Format) -> bool:
        _, over, band, _ = self.measured(row, fmt)
        return over <= band if not self.equality else abs(over) <= band

    def moved(self, row: Row, fmt: Format) -> Row | None:
        short, over, _, e = self.measured(row, fmt)
        a = self.coefficients(len(row))
        found = np.ldexp(short - over / math.fsum(a * a) * a, e)
        return found if np.max(np.abs(found)) <= fmt.largest else None

    def away(self, row: Row, fmt: Format) -> float:
        _, over, _, e = self.measured(row, fmt)
        return abs(ldexp(over / (len(row) if self.mean else 1), e))


@dataclass(frozen=True)
class Mean(Affine):
    value: float = 0.0
    axis: Any = 0
    mean = True

    def __post_init__(self) -> None:
        self.set(value=number("value", self.value), axis=sliced_axis(self.axis))

    def target(self, n: int) -> float:
        return self.value * n


@dataclass(frozen=True)
class Sum(Affine):
    total: float = 1.0
    axis: Any = 0

    def __post_init__(self) -> None:
        self.set(total=number("total", self.total), axis=sliced_axis(self.axis))

    def target(self, n: int) -> float:
        return self.total


class WithNormal(Affine):
    """An affine constraint with a normal of its own."""

    normal: Any

    def coefficients(self, n: int) -> Row:
        return np.broadcast_to(np.asarray(self.normal, dtype=np.float64), (n,))

    def judged(self, given: Any) -> Any:
        """Return the normal as a number or a tuple of numbers, not all of them zero."""
        if isinstance(given, np.ndarray):
            given = given.tolist()
        if not isinstance(given, tuple | list):
            found: Any = number("normal", given)
        else:
            try:
                found = tuple(number("normal", x) for x in given)
            except ValueError:
                raise ValueError(f"normal must hold finite numbers, got {given!r}") from None
        if not np.any(found):
            raise ValueError(f"normal must not be zero, got {given!r}")
        return found

    def fit(self, shape: tuple[int, ...]) -> None:
        n = math.prod(shape[i] for i in dimensions(self.axis, shape))
        own = self.normal
        if isinstance(own, tuple) and len(own) != n and math.prod(shape):
            raise ValueError(f"normal has {len(own)} numbers, a slice {n}")


@dataclass(frozen=True)
class Halfspace(WithNormal):
    normal: Any
    bound: float = 0.0
    axis: Any = 0
    equality = False

    def __post_init__(self) -> None:
        bound = number("bound", self.bound, finite=False)
        self.set(normal=self.judged(self.normal), bound=bound, axis=sliced_axis(self.axis))

    def target(self, n: int) -> float:
        return self.bound


@dataclass(frozen=True)
class Hyperplane(WithNormal):
    normal: Any
    value: float = 0.0
    axis: Any = 0

    def __post_init__(self) -> None:
        value = number("value", self.value)
        self.set(normal=self.judged(self.normal), value=value, axis=sliced_axis(self.axis))

    def target(self, n: int) -> float:
        return self.value


@dataclass(frozen=True)
class Standardized(Sliced):
    axis: Any = 0

    def __post_init__(self) -> None:
        self.set(axis=sliced_axis(self.axis))

    def measured(self, row: Row) -> tuple[Row, float, float, int]:
        """Return what is left of the row without its mean, over a power of two, and sizes."""
        e = exponent(row)
        short = np.ldexp(row, -e)
        mean = math.fsum(short) / len(row)
        about = short - mean
        deviation = math.sqrt(math.fsum(about * about) / len(row))
        return about, mean, deviation, e

    def keeps(self, row: Row, fmt: Format) -> bool:
        _, mean, deviation, e = self.measured(row)
        near = (1.5 if fmt.digits < 53 else 6.0) * float(fmt.u)
        return abs(ldexp(mean, e)) <= near and abs(ldexp(deviation, e) - 1) <= near

    def moved(self, row: Row, fmt: Format) -> Row | None:
        about, _, deviation, _ = self.measured(row)
        if (row == row[0]).all() or not deviation:
            return None
        return about / deviation

    def away(self, row: Row, fmt: Format) -> float:
        _, mean, deviation, e = self.measured(row)
        if (row == row[0]).all():
            return max(abs(float(row[0])), 1.0)
        return max(abs(ldexp(mean, e)), abs(ldexp(deviation, e) - 1))


SLICED = (Sphere, Mean, Sum, Standardized, Halfspace, Hyperplane)
