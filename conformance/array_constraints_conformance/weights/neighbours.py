"""Large weights with slices near their bound, and special slices beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import product

import numpy as np

from array_constraints_conformance.catalogue import (
    Definition,
    ExactRule,
    KnownRule,
    NormRule,
    Rule,
)
from array_constraints_conformance.numerics.formats import Format
from array_constraints_conformance.weights.case import Case

_SIDE = 64  # the length of the sides of matrices that may be stacked
_TRIPLES = 24  # slices of a weight: one shape for all, which JAX compiles once
ORDINARY, IN_TURN, BEYOND = "ordinary", "all of these", "numbers whose squares overflow"
FEW = ("zeros", BEYOND, "NaN", IN_TURN)  # what shows most


@dataclass(frozen=True)
class Neighbourhood:
    """Slices as rows: chosen ones are replaced by special slices, the others are judged."""

    rule: Rule
    rows: np.ndarray
    shape: tuple[int, ...]
    fmt: Format

    @cached_property
    def chosen(self) -> np.ndarray:
        """The slices to replace: a seventh of many, or one of few, never all of them."""
        count = len(self.rows)
        found: np.ndarray = np.arange(count) % min(7, max(count, 2)) == min(3, count - 1)
        return found

    @cached_property
    def beside(self) -> Mapping[str, np.ndarray]:
        """The special slices by name."""
        n, dtype = self.rows.shape[1], self.fmt.dtype
        largest, smallest = self.fmt.largest, self.fmt.smallest
        signs, first = np.where(np.arange(n) % 3 == 1, -1.0, 1.0), np.arange(n) == n // 2
        likely = np.nan_to_num(self.rows[0].astype(np.float64), posinf=1.0, neginf=1.0)
        rows = {
            "zeros": np.zeros(n),
            "the largest numbers": signs * largest,
            BEYOND: signs * largest**0.66,
            "the smallest normal numbers": signs * smallest,
            "subnormal numbers": signs * smallest * 0.75,
            "NaN": np.where(first, math.nan, likely),
            "infinity": np.where(first, math.inf, likely),
            "minus infinity": np.where(first, -math.inf, signs * largest),
            "a slice on its bound": likely,
        }
        return {name: row.astype(dtype) for name, row in rows.items()}

    def case(self, name: str) -> Case:
        """Return the weight whose chosen slices are the special ones of this name."""
        n = self.rows.shape[1]
        ordinary = [np.linspace(1, 3, n).astype(self.fmt.dtype)]
        every = list(self.beside.values())
        some = {ORDINARY: ordinary, IN_TURN: every}.get(name) or [self.beside[name]]
        rows = self.rows.copy()
        for turn, i in enumerate(np.flatnonzero(self.chosen)):
            rows[i] = some[turn % len(some)]
        return Case(self.rule.arranged(rows, self.shape), self.rule)


def wide(
    definition: Definition,
    rules: Sequence[KnownRule],
    formats: Sequence[Format],
    seed: int,
    every: bool,
) -> Iterator[Neighbourhood]:
    """Yield large weights whose slices lie on their bound, and a few roundoffs beside it.

    Every rule in every format and shape, or each format once, in another shape and rule.
    """
    turns = list(product(range(2), range(2), formats))
    chosen = turns if every else [(i, (i + 1) % 2, fmt) for i, fmt in enumerate(formats)]
    for turn, which, fmt in chosen:
        shape, axis = rules[0].wide[which]
        rng = np.random.default_rng([seed, fmt.digits, which])
        if isinstance(rules[0], NormRule):
            count, n = rules[0].along(axis).slices(np.zeros(shape)).rows.shape
            rows, norm = _about(rng, count, n, fmt, _bound_of(definition) is not None)
            rule: KnownRule = _bound_by(definition, norm, turn).along(axis)
        else:
            rule = rules[turn % len(rules)].along(axis).placed(shape)
            if not rule.suits(shape) or not rule.fits(fmt, shape[axis]):
                rule = rules[0].along(axis).placed(shape)
            count, n = rule.slices(np.zeros(shape)).rows.shape
            rows = rule.nearby(rng, count, n, fmt)
        yield Neighbourhood(rule, rows, shape, fmt)


def alike(
    definition: Definition, rule: KnownRule, fmt: Format, seed: int, turn: int, number: int
) -> tuple[KnownRule, list[np.ndarray]]:
    """Return a rule and a number of small weights of one shape, with slices about its bound."""
    rng = np.random.default_rng([seed, fmt.digits, number])
    if isinstance(rule, ExactRule):
        rule = rule.along(0).placed((_SIDE, _SIDE))
        shape = (number, _SIDE, _SIDE)
        return rule, list(rng.standard_normal(shape).astype(fmt.dtype))
    count = number * _SIDE
    if isinstance(rule, NormRule):
        rows, norm = _about(rng, count, _SIDE, fmt, _bound_of(definition) is not None)
        rule = _bound_by(definition, norm, turn).along(0)
    else:
        rule = rule.along(0).placed((_SIDE, _SIDE))
        rows = rule.nearby(rng, count, _SIDE, fmt)
    rows[::5] *= fmt.dtype.type(3)  # and some that move
    stack = rows.reshape(number, _SIDE, _SIDE).swapaxes(1, 2)
    return rule, [np.ascontiguousarray(w) for w in stack]


def _about(
    rng: np.random.Generator, count: int, n: int, fmt: Format, free: bool
) -> tuple[np.ndarray, float]:
    """Return rows of one norm, others of nearly that norm, and that norm: 1 unless free."""
    row = rng.standard_normal(n)
    row = (row if free else row / math.sqrt(math.fsum(row * row))).astype(fmt.dtype)
    wide = row.astype(np.float64)
    steps = 1 + 2 * float(fmt.u) * rng.integers(-3, 4, count)
    nearly = [(wide * step).astype(row.dtype) for step in steps]
    rows = [(row, rng.permutation(row), nearly[i])[i % 3] for i in range(count)]
    return np.stack(rows), math.sqrt(math.fsum(wide * wide))


def _bound_of(definition: Definition) -> str | None:
    """Return the parameter that is the upper bound of a norm; None where that is fixed."""
    return next((name for name in ("max_value", "radius") if name in definition.defaults), None)


def _bound_by(definition: Definition, norm: float, turn: int) -> KnownRule:
    """Return the rule with this norm as its upper bound, or every other turn as its lower."""
    given: dict[str, float] = {}
    if "min_value" in definition.defaults:
        low, high = ((norm / 2, norm), (norm, 2 * norm))[turn % 2]
        given = {"min_value": low, "max_value": high}
    elif (bound := _bound_of(definition)) is not None:
        given = {bound: norm}
    elif "rate" in definition.defaults:
        given = {"rate": 1.0}  # all of the way, where a result is to be kept
    return definition.with_arguments(given)  # type: ignore[return-value]


def spheres(
    definition: Definition, formats: Sequence[Format], seed: int, count: int
) -> Iterator[Case]:
    """Yield slices of three integers with one norm, and a bound that is this norm, rounded.

    Sums of their squares are exact, so only the rounding of the square root decides; that is
    hardest where the root is nearly halfway between two numbers.
    """
    if _bound_of(definition) is None or not isinstance(definition.rules()[0], NormRule):
        return
    for turn, square in enumerate(_hard_squares(seed, count)):
        fmt = formats[-1 - turn // 2 % len(formats) if turn % 2 else -1]
        triples = [t for t in _every_triple(square) if max(t) < 2**fmt.digits] or [(1, 2, 2)]
        rows = np.resize(triples, (_TRIPLES, 3))
        w = rows.T.astype(np.float64).astype(fmt.dtype)
        norm = math.sqrt(sum(x * x for x in triples[0]))
        yield Case(np.ascontiguousarray(w), _bound_by(definition, norm, turn).along(0))


@cache
def _hard_squares(seed: int, count: int) -> list[int]:
    """Return those of many integers whose roots lie nearest to the middle of two numbers."""
    drawn = np.random.default_rng([seed, count]).integers(40_000, 65_000, 100 * count)
    found = [x for x in {int(x) for x in drawn} if next(_triples(x), None)]
    return sorted(found, key=_from_the_middle)[:count]


def _from_the_middle(square: int) -> Fraction:
    root = Fraction(math.sqrt(square))
    away = abs(square - root * root) / (2 * root)  # of the exact root, nearly
    return abs(away / Fraction(math.ulp(math.sqrt(square))) - Fraction(1, 2))


@cache
def _every_triple(square: int) -> list[tuple[int, int, int]]:
    return list(_triples(square))


def _triples(square: int) -> Iterator[tuple[int, int, int]]:
    """Yield the triples of integers, the largest first, whose squares add up to this."""
    for a in range(math.isqrt(square), 0, -1):
        for b in range(min(a, math.isqrt(square - a * a)), -1, -1):
            c = math.isqrt(square - a * a - b * b)
            if c > b:
                break
            if a * a + b * b + c * c == square:
                yield a, b, c
