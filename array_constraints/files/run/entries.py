"""The pass for each form of a constraint; those on entries, and on whole slices or arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from array_constraints.constraint import Constraint, Elementwise, Form, Slicewise, WholeSlice
from array_constraints.files import grid
from array_constraints.files.formats.base import Tensor
from array_constraints.files.grid import Region, grid_of
from array_constraints.files.run.report import Summary
from array_constraints.files.run.slices import SlicesPass
from array_constraints.files.run.work import (
    SLICES_OF_PANEL,
    Measures,
    Outcome,
    Pass,
    in_numpy,
    stand_in,
    summary_of,
)


def pass_of(constraint: Any, tensor: Tensor) -> Pass:
    """Return the pass for a constraint and a tensor, or raise where they do not fit.

    Raises
    ------
    TypeError
        If the dtype of the tensor is not one that the constraint takes.
    ValueError
        If the shape or the axis does not fit.
    """
    if not tensor.supported:
        raise TypeError(
            f"{tensor.name!r} is selected, but has dtype {tensor.dtype}: constraints on files "
            "take float16, bfloat16, float32 and float64; select other weights"
        )
    if not isinstance(constraint, Constraint):
        constraint = Called(constraint)
    own_call = type(constraint).__call__ is not Form.__call__
    whole = stand_in(tensor)
    if isinstance(constraint, Form):
        try:
            constraint.validate(whole)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{tensor.name!r}: {error}; select other weights") from None
    kind: type[Pass] = WholePass
    axes, most = tuple(range(len(tensor.shape))), 1
    if isinstance(constraint, WholeSlice):
        axes = constraint.axes(whole)
    if isinstance(constraint, Elementwise) and not own_call:
        kind, axes, most = EntriesPass, (), grid.ENTRIES_OF_TILE
    if isinstance(constraint, Slicewise) and not own_call:
        kind, axes, most = SlicesPass, constraint.axes(whole), grid.ENTRIES_OF_TILE
    return kind(
        constraint, tensor, grid_of(tensor.shape, axes, tensor.chunks, tensor.order, most)
    )


class EntriesPass(Pass):
    """A constraint on each entry alone."""

    def check(self, region: Region, block: Any = None) -> Outcome:
        parts, before = self.parts(region, block), Summary()
        for _, _, part in self.grid.tiles(region):
            for tile in _flat(parts.read(part)):
                before += self._judged(tile)
        return Outcome(before)

    def project(
        self, region: Region, block: Any = None, measures: Measures | None = None
    ) -> Outcome:
        parts = self.parts(region, block, kept=self.result is None)
        before = after = Summary()
        for _, _, part in self.grid.tiles(region):
            whole = parts.read(part)
            for tile in _flat(whole):
                found = left = self._judged(tile)
                if found.violating:
                    tile[...] = self.constraint.project(tile, in_numpy())
                    left = self._judged(tile)
                before, after = before + found, after + left
            parts.write(part, whole)
        return Outcome(before, after, block=parts.finish(self.durable))

    def _judged(self, tile: Any) -> Summary:
        xp = in_numpy()
        if self.constraint.satisfied(tile, xp) and not xp.any(xp.isnan(tile)):
            return Summary(tile.size)
        return summary_of(self.constraint.whole_violation(tile, xp))


def _flat(whole: Any) -> Iterator[Any]:
    """Return views of an array, in any order of its entries, that stay in the caches."""
    if whole.flags.f_contiguous:
        whole = whole.T
    rows = [whole.reshape(-1)] if whole.flags.c_contiguous else whole
    for row in rows:
        if row.ndim > 1:
            yield from _flat(row)
            continue
        for start in range(0, row.size, grid.ENTRIES_OF_TILE // 4):
            yield row[start : start + grid.ENTRIES_OF_TILE // 4]


class WholePass(Pass):
    """A constraint that needs whole slices at once, or the whole tensor: it is called."""

    def panels(self, chunk_bytes: int, in_order: bool) -> Iterator[tuple[Region, list[Region]]]:
        for panel, fits in self.grid.panels(self.entries_of(chunk_bytes), SLICES_OF_PANEL):
            if not fits:
                least = math.prod(part.stop - part.start for part in panel)
                raise ValueError(
                    f"{type(self.constraint).__name__} needs whole slices of "
                    f"{self.tensor.name!r} at once, {least * self.tensor.itemsize} bytes, more "
                    f"than a chunk of {chunk_bytes} bytes: raise the chunk size"
                )
            yield panel, [panel]

    def check(self, region: Region, block: Any = None) -> Outcome:
        block = self.parts(region, block).read(region)
        return Outcome(before=self._judged(block))

    def project(
        self, region: Region, block: Any = None, measures: Measures | None = None
    ) -> Outcome:
        parts = self.parts(region, block, kept=self.result is None)
        block = parts.read(region)
        result = self._result(block)
        before = self._judged(block)
        after = self._judged(result) if before.violating else before
        parts.write(region, result)
        return Outcome(before, after, block=parts.finish(self.durable))

    def _judged(self, block: Any) -> Summary:
        return summary_of(self.constraint.violation(self._given(block)))

    def _given(self, block: Any) -> Any:
        """Return what a constraint gets: a callable may write to it."""
        return block if isinstance(self.constraint, Form) else block.copy()

    def _result(self, block: Any) -> Any:
        result = self.constraint(self._given(block))
        if result.shape != block.shape or result.dtype != block.dtype:
            raise ValueError(
                f"{self.constraint!r} returned shape {tuple(result.shape)} and dtype "
                f"{result.dtype} for {self.tensor.name!r}, of shape {tuple(block.shape)} and "
                f"dtype {block.dtype}"
            )
        return result


class Called(Constraint):
    """Any callable as a constraint on whole tensors."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, w: Any, *, copy: bool | None = None) -> Any:
        return self.function(w.copy())

    def get_config(self) -> dict[str, Any]:
        return {"function": repr(self.function)}
