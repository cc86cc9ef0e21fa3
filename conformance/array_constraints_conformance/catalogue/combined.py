"""Constraints made of others: a chain, a share of the way, and blocks.

Their members are given by their configs. They are judged with members of which the nearest
allowed points of the whole are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np

from array_constraints_conformance.catalogue.kinds import Kind
from array_constraints_conformance.catalogue.norms import NormRule
from array_constraints_conformance.catalogue.rule import Rule
from array_constraints_conformance.numerics.axes import Axis
from array_constraints_conformance.numerics.exact import (
    Slices,
    Vector,
    arranged,
    root,
    scaled,
    vector,
)
from array_constraints_conformance.numerics.formats import Format


def config(name: str, **parameters: Any) -> dict[str, Any]:
    """Return the config of a member."""
    return {"class_name": name, "config": parameters}


def _read(member: Any) -> tuple[str, dict[str, Any]]:
    """Return the name and the parameters that a config of a member gives."""
    return member["class_name"].rpartition(">")[2], dict(member["config"])


@dataclass(frozen=True)
class ChainRule(NormRule):
    """``NonNeg``, then ``MaxNorm``: no entry is negative, and norms are bounded.

    The one after the other leads to the nearest point of both.
    """

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "further sets"}
        found |= {"idempotent maps", "projections", "convex sets", "sets with an interior"}
        return frozenset(found | {"solid sets", "symmetric sets", "sets that keep signs"})

    def along(self, axis: Axis) -> Self:
        members = [config("NonNeg"), config("MaxNorm", max_value=self.upper, axis=axis)]
        return replace(self, axis=axis, arguments={"constraints": members})

    def kinds(self, fmt: Format) -> list[Kind]:
        """Return those of a norm; an infinity that is not negative, for that becomes 0."""

        def positive(kind: Kind) -> Kind:
            return lambda g, n: np.where((row := kind(g, n)) == -math.inf, math.inf, row)

        return list(map(positive, super().kinds(fmt)))

    def directed(self, slices: Slices, zero: np.ndarray) -> np.ndarray:
        found: np.ndarray = slices.finite
        return found

    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # signalling NaN
            found: np.ndarray = super().holds(slices, slack) & (slices.values >= 0).all(axis=1)
        return found

    def scale(self, slices: Slices, i: int) -> Fraction:
        size = root(_positive(slices).square(i))
        return min(Fraction(1), Fraction(self.upper) / size) if size else Fraction(1)

    def nearest(self, slices: Slices, i: int) -> Vector:
        return scaled(_positive(slices).vector(i), self.scale(slices, i))

    def apart(self, before: Slices, after: Slices, i: int) -> tuple[Fraction, Fraction]:
        positive, scale = _positive(before), self.scale(before, i)
        return after.distance(i, positive, scale), scale * root(positive.square(i))

    def undirected(self, slices: Slices) -> np.ndarray:
        return np.zeros(len(slices), dtype=bool)

    def close(self, slices: Slices, i: int, fmt: Format, underflow: Fraction) -> bool:
        return super().close(_positive(slices), i, fmt, underflow)

    def members(self, before: Slices, after: Slices, i: int) -> Iterator[Vector]:
        """Yield no weight, and the end of each axis, just inside."""
        n = before.length
        yield vector(np.zeros(n))
        for j in {0, n // 2, n - 1} if n else ():
            yield vector(np.eye(1, n, j)[0] * self.upper * (1 - 2.0**-40))

    def distance(self, slices: Slices, i: int) -> Fraction:
        lowest = float(np.min(slices.values[i], initial=0.0))
        return max(super().distance(slices, i), Fraction(-lowest))

    def violation_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def per_slice(self, violation: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        found: np.ndarray = self.slices(violation).values.max(axis=1)
        return found

    def satisfied(self, fmt: Format) -> Iterator[np.ndarray]:
        yield from (np.abs(row) for row in super().satisfied(fmt) if row.any())

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        return None


def _positive(slices: Slices) -> Slices:
    """Return the slices with 0 for what is negative."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        negative = slices.values < 0
    return Slices(np.where(negative, slices.rows.dtype.type(0), slices.rows), (1,))


@dataclass(frozen=True)
class RelaxedRule(NormRule):
    """A share of the way to a norm in an interval: not the set itself."""

    @property
    def traits(self) -> frozenset[str]:
        found = {self.name, "every constraint", "built-in constraints", "further sets"}
        found |= {"sliced constraints", "sets that keep signs", "symmetric sets", "even sets"}
        found |= {"idempotent maps", "projections"} if self.rate == 1 else set()
        solid = {"sets with an interior", "solid sets"}
        return frozenset(found | (solid if self.lower < self.upper else set()))

    def along(self, axis: Axis) -> Self:
        name, given = _read(self.arguments["constraint"])
        member = config(name, **{**given, "axis": axis})
        return replace(self, axis=axis, arguments={**self.arguments, "constraint": member})


@dataclass(frozen=True)
class BlocksRule(NormRule):
    """The norm of each block of ``size`` entries along ``axis`` lies in an interval."""

    size_of_block: int = 4

    wide: ClassVar[tuple[tuple[tuple[int, ...], int], ...]] = (((12, 2732), 1), ((344, 96), 0))

    @property
    def traits(self) -> frozenset[str]:
        found = super().traits - {"norm constraints", "sliced constraints"}
        return found | {"further sets"}

    @property
    def layouts(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("long slices",)

    def axes(self, ndim: int) -> tuple[int, ...]:
        return (self.axis % ndim,) if isinstance(self.axis, int) and ndim else ()

    def along(self, axis: Axis) -> Self:
        name, given = _read(self.arguments["constraint"])
        member = config(name, **{**given, "axis": axis})
        arguments = {**self.arguments, "constraint": member, "axis": axis}
        return replace(self, axis=axis, arguments=arguments)

    def suits(self, shape: tuple[int, ...]) -> bool:
        fits = isinstance(self.axis, int) and -len(shape) <= self.axis < len(shape)
        return fits and shape[self.axis] % self.size_of_block == 0  # type: ignore[index]

    def _apart(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        """Return the shape with a dimension of blocks before that of their entries."""
        (axis,), size = self.axes(len(shape)), self.size_of_block
        return (*shape[:axis], shape[axis] // size, size, *shape[axis + 1 :]), axis + 1

    def slices(self, array: np.ndarray) -> Slices:
        shape, axis = self._apart(array.shape)
        found = Slices(array.reshape(shape), (axis,))
        found.array = array
        return found

    def arranged(self, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        apart, axis = self._apart(shape)
        return arranged(rows, apart, (axis,)).reshape(shape)

    def violation_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        apart, axis = self._apart(shape)
        return (*apart[:axis], *apart[axis + 1 :])

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        return None


def _interval(member: Any) -> tuple[Axis, float, float]:
    """Return the axis and the bounds of the norm that a member asks for."""
    name, given = _read(member)
    axis = given.get("axis", 0)
    if name == "MaxNorm":
        return axis, 0.0, given.get("max_value", 2)
    if name == "UnitNorm":
        return axis, 1.0, 1.0
    raise ValueError(f"known are members MaxNorm and UnitNorm, not {name}")


def chain(name: str, given: Mapping[str, Any]) -> Rule:
    first, second = map(_read, given["constraints"])
    if (first[0], second[0]) != ("NonNeg", "MaxNorm"):
        raise ValueError("known is the chain of NonNeg and MaxNorm")
    return ChainRule(name, given, *_interval(given["constraints"][1]))


def relaxed(name: str, given: Mapping[str, Any]) -> Rule:
    return RelaxedRule(name, given, *_interval(given["constraint"]), given["rate"])


def blocks(name: str, given: Mapping[str, Any]) -> Rule:
    axis, lower, upper = _interval(given["constraint"])
    if given["axis"] != axis or given["size"] is None:
        raise ValueError("known are blocks of one size, along the axis of their slices")
    return BlocksRule(name, given, axis, lower, upper, size_of_block=given["size"])
