"""How Dask finds thresholds: in a fixed number of rounds, each a task for a chunk."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import dask.array
import numpy
from array_api_compat import array_namespace

from array_constraints.libraries.base import Library
from array_constraints.libraries.dask import _reduced
from array_constraints.libraries.table import of
from array_constraints.libraries.thresholds import Thresholds
from array_constraints.numerics import brackets, masses
from array_constraints.numerics.brackets import Above, Bracket
from array_constraints.numerics.masses import Mass, Target
from array_constraints.numerics.sums import pairwise_sum
from array_constraints.typing import Array

HowOf: TypeAlias = Callable[[Library], Thresholds]

_ROUNDS = 8  # at most 4 were needed in float32, 5 in float64, for 10**6 entries


class DaskThresholds(Thresholds):
    """Objects stand for the measures of chunks: they are merged as those of files are."""

    def __init__(self, library: Library, how_of: HowOf) -> None:
        super().__init__(library)
        self.how_of = how_of  # the library of the chunks finds them

    def ends(self, v: Any, w: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
        return _reduced(v, axes, _smallest), _reduced(v, axes, _largest)

    def total(self, x: Any, axes: tuple[int, ...]) -> Any:
        return _reduced(x, axes, _total)

    def projected(self, w: Any, axes: tuple[int, ...], target: Target) -> Array:
        """Return the array projected lazily; a chunk of whole slices by itself."""
        like: dict[str, Any] = {"dtype": w.dtype, "meta": w._meta}
        how: dict[str, Any] = {"how_of": self.how_of}
        if all(w.numblocks[i] == 1 for i in axes):
            found: Array = w.map_blocks(_alone, axes=axes, target=target, **how, **like)
            return found
        objects = {"dtype": object, "meta": numpy.empty((0,) * w.ndim, dtype=object)}

        def merged(blocks: Any, merge: Any) -> Any:
            combine = functools.partial(_merged, merge=merge)
            return dask.array.reduction(
                blocks,
                chunk=_as_they_are,
                combine=combine,
                aggregate=combine,
                axis=axes,
                keepdims=True,
                concatenate=False,
                **objects,
            )

        parts = w.map_blocks(_mass, axes=axes, ball=target.ball, **how, **objects)
        whole = merged(parts, _merge_masses)
        bracket = whole.map_blocks(_started, target=target, **how, **objects)
        for _ in range(_ROUNDS):
            above = w.map_blocks(_above, bracket, axes=axes, chunks=w.chunks, **how, **objects)
            bracket = bracket.map_blocks(_narrowed, merged(above, _merge_above), **objects)
        lazy: Array = w.map_blocks(_applied, bracket, axes=axes, chunks=w.chunks, **how, **like)
        return lazy


def _smallest(x: Any, axes: tuple[int, ...], xp: Any) -> Any:
    return xp.min(x, axis=axes, keepdims=True, initial=numpy.inf)


def _largest(x: Any, axes: tuple[int, ...], xp: Any) -> Any:
    return xp.max(x, axis=axes, keepdims=True, initial=-numpy.inf)


def _total(x: Any, axes: tuple[int, ...], xp: Any) -> Any:
    with numpy.errstate(invalid="ignore"):  # infinities of both signs
        return pairwise_sum(x, None, axes, xp)


def _as_they_are(part: Any, axis: object, keepdims: bool) -> Any:
    return part


def _quiet(function: Any) -> Any:
    return functools.wraps(function)(numpy.errstate(all="ignore")(function))


@_quiet
def _alone(block: Any, axes: tuple[int, ...], target: Target, how_of: HowOf) -> Any:
    return how_of(of(block)).projected(block, axes, target) if block.size else block


@_quiet
def _mass(block: Any, axes: tuple[int, ...], ball: bool, how_of: HowOf) -> Mass:
    how = how_of(of(block))
    return how.mass(block, axes, ball)


@_quiet
def _merged(parts: Any, axis: object, keepdims: bool, merge: Any) -> Any:
    from dask.core import flatten

    return functools.reduce(merge, flatten(list(parts) if isinstance(parts, list) else [parts]))


def _merge_masses(a: Mass, b: Mass) -> Mass:
    return masses.merge(a, b, array_namespace(a.largest))


def _merge_above(a: Above | None, b: Above | None) -> Above | None:
    return a if a is None or b is None else brackets.merge(a, b)


@_quiet
def _started(mass: Mass, target: Target, how_of: HowOf) -> Bracket:
    return brackets.started(mass, target, how_of(of(mass.largest)))


@_quiet
def _above(block: Any, bracket: Bracket, axes: tuple[int, ...], how_of: HowOf) -> Above | None:
    """Return what is above the pivots; None once all slices are done."""
    if not bool(array_namespace(bracket.left).any(bracket.open)):
        return None
    return brackets.above(block, bracket, axes, how_of(of(block)))


@_quiet
def _narrowed(bracket: Bracket, found: Above | None) -> Bracket:
    if found is None:
        return bracket
    return brackets.narrowed(bracket, found, array_namespace(bracket.left))


@_quiet
def _applied(block: Any, bracket: Bracket, axes: tuple[int, ...], how_of: HowOf) -> Any:
    return brackets.applied(block, bracket, axes, how_of(of(block)))
