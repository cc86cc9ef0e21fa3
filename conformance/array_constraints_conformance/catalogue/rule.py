"""Rules: what a constraint with its arguments allows, and how near a result has to be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from array_constraints_conformance.catalogue.kinds import Kind, kinds
from array_constraints_conformance.numerics.axes import Axis
from array_constraints_conformance.numerics.exact import Slices, Vector, arranged
from array_constraints_conformance.numerics.formats import Format


@dataclass(frozen=True)
class Rule(ABC):
    """One constraint with its arguments: the slices that it allows."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    axis: Axis = None

    exact: ClassVar[bool] = False
    """Whether results are entries, zeros and bounds alone, so that nothing is rounded."""
    uniform: ClassVar[bool] = True
    """Whether every entry, wherever it is, becomes the same."""
    layouts: ClassVar[tuple[str, ...]] = ()
    """The layouts of the quick profile by name; none stands for all that are quick."""
    wide: ClassVar[tuple[tuple[tuple[int, ...], int], ...]] = (((12, 2731), 1), ((342, 96), 0))
    """Shapes of 2**15 entries and a few: such a weight may be taken in blocks, or in parts."""

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> Self:
        """Return the rule for these arguments: those named as a field are its values."""
        own = {each.name: given[each.name] for each in fields(cls) if each.name in given}
        return cls(name, given, **own)

    @property
    @abstractmethod
    def traits(self) -> frozenset[str]:
        """The terms of the specification that apply to it."""

    @abstractmethod
    def axes(self, ndim: int) -> tuple[int, ...]:
        """Return the dimensions that a slice runs along."""

    @abstractmethod
    def holds(self, slices: Slices, slack: Fraction) -> np.ndarray:
        """Whether each finite slice is allowed, with bounds widened by ``slack`` of each."""

    # Where it is judged.

    @property
    def judged_anywhere(self) -> bool:
        """Whether it is judged in any layout: along every axis, or entry by entry."""
        return True

    def along(self, axis: Axis) -> Self:
        """Return this rule for slices along ``axis``; itself where it has no such argument."""
        return self

    def placed(self, shape: tuple[int, ...]) -> Self:
        """Return this rule for weights of a shape: what it has for each entry is repeated."""
        return self

    def suits(self, shape: tuple[int, ...]) -> bool:
        """Whether weights of a shape can be brought under it."""
        return True

    def fits(self, fmt: Format, n: int) -> bool:
        """Whether the laws speak of slices of ``n`` entries in this format."""
        return True

    @property
    def bounds(self) -> tuple[float, ...]:
        """The finite bounds of a slice; 1, where it has none by its kind."""
        return (1.0,)

    def kinds(self, fmt: Format) -> list[Kind]:
        """Return functions that make a slice of each kind that is hard for it."""
        return kinds(self.bounds, fmt)

    def satisfied(self, fmt: Format) -> Iterator[np.ndarray]:
        """Yield weights of four entries, one slice, at which the derivative is the identity."""
        yield from ()

    # Slices.

    def slices(self, array: np.ndarray) -> Slices:
        """Return the slices of an array."""
        return Slices(array, self.axes(array.ndim))

    def arranged(self, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the C-ordered array of a shape that has these slices."""
        return arranged(rows, shape, self.axes(len(shape)))

    def directed(self, slices: Slices, zero: np.ndarray) -> np.ndarray:
        """Return which slices, not ``zero`` ones, can be brought where they are allowed."""
        found: np.ndarray = slices.finite & ~zero
        return found

    def unmoved(self, slices: Slices) -> np.ndarray:
        """Return which slices that are not finite come back as they are."""
        found: np.ndarray = ~slices.finite
        return found

    def demanded(self, slices: Slices, directed: np.ndarray) -> np.ndarray:
        """Return which slices have a result that is to be allowed."""
        return directed

    def interior(self, slices: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        """Return which finite slices are allowed by more than the band."""
        found: np.ndarray = slices.finite & self.holds(slices, -fmt.band(slices.length))
        return found

    def allowed(
        self, before: Slices, after: Slices, fmt: Format, underflow: Fraction
    ) -> np.ndarray:
        """Return which results are allowed, within the tolerance."""
        return self.holds(after, fmt.tolerance(after.length))

    def expectation(self, slices: Slices, fmt: Format) -> str:
        """Return in words what a slice is to become."""
        return "an allowed value"

    def measured(self, slices: Slices, i: int) -> str:
        """Return in words what is measured of slice ``i``, to follow its name."""
        return ""

    @cached_property
    def key(self) -> str:
        return repr(self)

    def __str__(self) -> str:
        given = {**self.arguments, **({"axis": self.axis} if "axis" in self.arguments else {})}
        return f"{self.name}({', '.join(f'{k}={_short(v)}' for k, v in given.items())})"


def _short(value: Any) -> str:
    """Return the text of an argument; of a long sequence, its beginning."""
    text = repr(value)
    return text if len(text) < 200 else f"{text[:100]}..."


@dataclass(frozen=True)
class KnownRule(Rule):
    """A constraint of the catalogue: the nearest allowed points are known."""

    @abstractmethod
    def nearest(self, slices: Slices, i: int) -> Vector:
        """Return where slice ``i``, which has a direction, is to go."""

    @abstractmethod
    def apart(self, before: Slices, after: Slices, i: int) -> tuple[Fraction, Fraction]:
        """Return how far a result is from the nearest point, and the norm of that."""

    @abstractmethod
    def near(self, before: Slices, i: int, fmt: Format, reach: Fraction) -> Fraction:
        """Return how far a right result of norm ``reach`` may be from the nearest point."""

    @abstractmethod
    def distance(self, slices: Slices, i: int) -> Fraction:
        """Return the violation of slice ``i``, which has a direction."""

    @abstractmethod
    def size(self, slices: Slices, i: int) -> Fraction:
        """Return what has to be computed for the violation of slice ``i``: it may overflow."""

    @abstractmethod
    def violation_error(
        self, slices: Slices, i: int, fmt: Format, underflow: Fraction
    ) -> Fraction:
        """Return how far the violation of slice ``i`` may be from the distance."""

    def undirected(self, slices: Slices) -> np.ndarray:
        """Return the slices that no direction leads from to what is allowed."""
        return np.zeros(len(slices), dtype=bool)

    def satisfies(self, slices: Slices) -> np.ndarray:
        """Return which finite slices satisfy an equation exactly."""
        return np.zeros(len(slices), dtype=bool)

    def infinitely_far(self, slices: Slices) -> np.ndarray:
        """Return the slices whose infinities are not allowed; those with NaN are not asked."""
        found: np.ndarray = np.isinf(slices.values).any(axis=1)
        return found

    def close(self, slices: Slices, i: int, fmt: Format, underflow: Fraction) -> bool:
        """Whether slice ``i`` is in the band of a bound: it may be kept or projected."""
        return False

    def kept(self, before: Slices, fmt: Format, underflow: Fraction) -> np.ndarray:
        """Return which slices may be kept as they are, within the band."""
        return self.allowed(before, before, fmt, underflow)

    def members(self, before: Slices, after: Slices, i: int) -> Iterator[Vector]:
        """Yield allowed points for the variational inequality of slice ``i``."""
        yield from ()

    def violation_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        axes = self.axes(len(shape))
        return tuple(1 if i in axes else n for i, n in enumerate(shape))

    def per_slice(self, violation: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return one number of a violation for each slice of a weight of this shape."""
        return violation.reshape(-1).astype(np.float64)

    def nearby(self, rng: np.random.Generator, count: int, n: int, fmt: Format) -> np.ndarray:
        """Return rows about a bound, which large weights are made of."""
        return rng.standard_normal((count, n)).astype(fmt.dtype)

    def jacobian(self, w: np.ndarray) -> np.ndarray | None:
        """Return the derivative at a weight, one slice; None where it is not stated."""
        return None
