"""What checkers say of calls, each a function that runs, too: see ``test_types.py``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, assert_type

import numpy as np
from numpy.typing import NDArray

from array_constraints import (
    Array,
    Bound,
    Constraint,
    Elementwise,
    Interval,
    MaxNorm,
    MinMaxNorm,
    Namespace,
    NonNeg,
    NormConstraint,
    Rescaling,
    Slicewise,
    UnitNorm,
    WholeSlice,
    apply,
    deserialize,
    get,
    reductions,
    register,
    serialize,
)
from array_constraints.files import Report, check_file
from array_constraints.reductions import Sum
from array_constraints.rules import Rule, Rules, RulesLike, as_rules

A = TypeVar("A")
Weights = NDArray[np.float32]
W: Weights = np.ones((2, 3), dtype=np.float32)


def a_call_returns_what_it_was_given() -> None:
    assert_type(MaxNorm(1.0)(W), Weights)
    assert_type(NonNeg()(W.copy(), copy=False), Weights)
    assert_type(get("max_norm")(W, copy=True), Weights)
    assert_type(Constraint()(W), Weights)


def a_violation_is_an_array_whose_dtype_may_be_another() -> None:
    assert_type(MaxNorm(1.0).violation(W), NDArray[Any])
    assert NonNeg().violation(np.asarray([-1, 2])).dtype == np.float64
    assert_type(Constraint().violation(W), NDArray[Any])


def get_and_deserialize_name_a_constraint() -> None:
    assert_type(get("max_norm"), Constraint)
    assert_type(get({"class_name": "NonNeg", "config": {}}), Constraint)
    assert_type(get(None), None)
    assert_type(get(UnitNorm), UnitNorm)
    assert_type(get(MaxNorm(2.0)), MaxNorm)
    assert_type(get(twice)(W), Weights)
    assert_type(deserialize(None), None)
    config = serialize(MaxNorm(2.0))
    assert_type(config, dict[str, Any])
    assert_type(deserialize(config), Constraint)
    for name in ("max_norm", None):
        assert_type(get(name), Constraint | None)


def parameters_are_what_is_taken_and_fields_what_is_kept() -> None:
    constraint = MaxNorm([1.0, 2.0], axis=[0])
    assert_type(constraint.axis, int | tuple[int, ...] | Literal["incoming"] | None)
    assert_type(constraint.max_value, float | tuple[float, ...])
    assert (constraint.max_value, constraint.axis) == ((1.0, 2.0), (0,))
    MaxNorm(np.float32(2.0), axis=np.int64(1))
    MaxNorm(np.ones(3), axis=(0, 1))
    MaxNorm(axis="incoming")
    MinMaxNorm(np.float32(0.5), 2, rate=1, axis=None)
    UnitNorm([0, 1])
    assert_type(dataclasses.replace(constraint, max_value=3.0, axis=None), MaxNorm)
    assert_type(MaxNorm.from_config({"axis": 1}), MaxNorm)


def apply_returns_the_container() -> None:
    assert_type(apply(NonNeg(), {"a": W}), dict[str, Weights])
    assert_type(apply(NonNeg(), {"a": [W], "b": [W]}), dict[str, list[Weights]])
    assert_type(apply(NonNeg(), (W, [W])), tuple[Weights, list[Weights]])
    assert_type(apply(NonNeg(), iter([W])), list[Weights])
    assert_type(apply(NonNeg(), W), Weights)
    assert_type(apply(twice, named()), Mapping[str, Weights])


def rules_take_one_or_several() -> None:
    rule = Rule("*", MaxNorm(1.0), ndim=2, kind="dense", exclude="*.bias")
    assert_type(rule.ndim, tuple[int, ...] | None)
    assert_type(rule.exclude, tuple[str, ...])
    Rule("*", "max_norm", ndim=[2, 4], kind=("conv", "dense"), exclude=["a", "b"])
    rules = Rules([Rule("*.bias", None, required=False), ("*", NonNeg())])
    weights = {"layer": {"kernel": W}}
    assert_type(rules.apply(weights), dict[str, dict[str, Weights]])
    assert_type(Rules([("a", NonNeg())]).match(["a"]), dict[str, Callable[[Any], Any]])
    assert_type(as_rules([("*", NonNeg())]).apply(pairs()), list[tuple[str, Weights]])


def rules_are_taken_as_many_things() -> None:
    mixed = [("a", MaxNorm(1.0)), ("b", NonNeg())]
    several: list[RulesLike] = [
        NonNeg(),
        "non_neg",
        {"class_name": "NonNeg", "config": {}},
        {"*.bias": NonNeg(), "*": None},
        mixed,
        Rule("*", twice),
        [Rule("*", NonNeg())],
        Rules(mixed),
    ]
    for rules in several:
        assert_type(as_rules(rules), Rules)


def files_take_rules(path: Path) -> None:
    np.save(path / "w.npy", W)
    report = check_file(path / "w.npy", [("w", MaxNorm(1.0, axis=[0]))])
    assert_type(report, Report)


def register_returns_the_class() -> None:
    assert_type(register(package="samples")(Halved), type[Halved])


def own_constraints_override_the_base() -> None:
    w = W.copy()
    assert_type(Typed(1.0)(w), Weights)
    assert_type(Scaled()(w, 2.0), Weights)
    assert_type(Clipped(2.0)(w, copy=False), Weights)
    assert_type(MaxTotal(2.0, axis=1).axis, int)
    for constraint in (Halved(), Typed(), Box(), MaxTotal(), Clipped(), Longest(), Sorted()):
        constraint.violation(w)


def twice(w: Weights) -> Weights:
    return w * 2


def named() -> Mapping[str, Weights]:
    return {"a": W}


def pairs() -> Iterator[tuple[str, Weights]]:
    yield "a", W


class Halved(Constraint):
    def __call__(self, w: Any) -> Any:
        return w / 2


class Typed(Constraint):
    def __init__(self, ref_value: float = 0.0) -> None:
        self.ref_value = ref_value

    def __call__(self, w: A) -> A:
        return w

    def get_config(self) -> dict[str, Any]:
        return {"ref_value": self.ref_value}


class Scaled(Constraint):
    def __call__(self, x: A, factor: float = 1.0) -> A:
        scaled: Any = x
        result: A = (scaled * factor).astype(scaled.dtype)
        return result


@dataclasses.dataclass(frozen=True)
class Box(Elementwise):
    upper: float = 1.0

    def project(self, w: Array, xp: Namespace) -> Array:
        return xp.minimum(w, xp.full_like(w, self.upper))

    def excess(self, w: Array, xp: Namespace) -> Array:
        return xp.maximum(w - self.upper, xp.zeros_like(w))


@dataclasses.dataclass(frozen=True)
class MaxTotal(Slicewise):
    upper: float = 1.0
    axis: int = 0

    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Array:
        return reductions.sum(block, axes, xp)

    def merge(self, a: Array, b: Array, xp: Namespace) -> Array:
        return a + b

    def excess(self, measure: Array, xp: Namespace) -> Array:
        return xp.maximum(measure - self.upper, xp.zeros_like(measure))

    def apply(self, block: Array, measure: Array, xp: Namespace) -> Array:
        return xp.astype(block * (self.upper / measure), block.dtype)


@dataclasses.dataclass(frozen=True)
class Clipped(Rescaling):
    radius: Bound = 1.0
    axis: int | tuple[int, ...] | None = 0

    measure = staticmethod(reductions.sum_of_magnitudes)

    def size(self, measure: Sum, xp: Namespace) -> reductions.Size:
        return reductions.norm(measure, xp)

    def interval(self) -> Interval:
        return Interval(0.0, self.radius)


class Longest(NormConstraint):
    axis = 0

    def interval(self) -> Interval:
        return Interval(1.0, float("inf"))


class Sorted(WholeSlice):
    axis = 0

    def project(self, slices: Array, xp: Namespace) -> Array:
        return xp.sort(slices, axis=-1)

    def excess(self, slices: Array, xp: Namespace) -> Array:
        moved = xp.abs(slices - xp.sort(slices, axis=-1))
        return xp.max(moved, axis=-1, keepdims=True)
