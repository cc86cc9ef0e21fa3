"""The work of constraints that need whole slices at once, or the whole tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from array_constraints.constraint import Constraint
from array_constraints.executors.grid import Region
from array_constraints.executors.needs import EVERYTHING, needs_of
from array_constraints.files.run.report import Summary
from array_constraints.files.run.work import (
    SLICES_OF_PANEL,
    Decided,
    Outcome,
    TensorWork,
    summary_of,
)
from array_constraints.forms import Form
from array_constraints.typing import name_of


class WholeWork(TensorWork):
    """The work of a constraint that is called on whole slices, or the whole tensor."""

    def panels(self, chunk_bytes: int, in_order: bool) -> Iterator[tuple[Region, list[Region]]]:
        for panel, fits in self.grid.panels(self.entries_of(chunk_bytes), SLICES_OF_PANEL):
            if not fits:
                least = math.prod(part.stop - part.start for part in panel)
                raise ValueError(
                    f"{name_of(type(self.constraint))} needs whole {self._parts} of "
                    f"{self.tensor.name!r} at once, {least * self.tensor.itemsize} bytes, more "
                    f"than a chunk of {chunk_bytes} bytes: raise chunk_size"
                )
            yield panel, [panel]

    def check(self, region: Region, block: Any = None) -> Outcome:
        block = self.tiles(region, block).read(region)
        return Outcome(before=self._summary(block, region))

    def project(
        self, region: Region, block: Any = None, decided: Decided | None = None
    ) -> Outcome:
        tiles = self.tiles(region, block, kept=self.result is None)
        block = tiles.read(region)
        result = self._result(block, region)
        before = self._summary(block, region)
        after = self._summary(result, region) if before.violating else before
        tiles.write(region, result)
        return Outcome(before, after, block=tiles.finish(self.durable))

    def _summary(self, block: Any, region: Region) -> Summary:
        excess = self._form(region).violation(self._given(block))
        if excess.ndim != block.ndim:  # of a constraint of one's own
            excess = excess.reshape(excess.shape + (1,) * (block.ndim - excess.ndim))
        pairs = list(zip(excess.shape, block.shape, strict=True))
        along = [i for i, (m, n) in enumerate(pairs) if m == 1 != n and i in self.axes]
        # A block of a dimension is numbered among the blocks, as an entry among the entries.
        starts = [p.start * m // n for p, (m, n) in zip(region, pairs, strict=True)]
        place = tuple(slice(at, at + m) for at, (m, _) in zip(starts, pairs, strict=True))
        return summary_of(excess, place, tuple(along), self.detail)

    @property
    def _parts(self) -> str:
        return "slices or blocks" if needs_of(self.constraint) == "regions" else "slices"

    def _form(self, region: Region) -> Any:
        """Return the constraint for a region, in which its slices are whole."""
        if needs_of(self.constraint) == EVERYTHING:
            return self.constraint
        return self.constraint.for_part(self.tensor.shape, self.axes, region)

    def _given(self, block: Any) -> Any:
        """Return the array for a constraint: a copy where a callable may write to it."""
        return block if isinstance(self.constraint, Form) else block.copy()

    def _result(self, block: Any, region: Region) -> Any:
        result = self._form(region)(self._given(block))
        if result.shape != block.shape or result.dtype != block.dtype:
            raise ValueError(
                f"{self.constraint!r} returned shape {tuple(result.shape)} and dtype "
                f"{result.dtype} for {self.tensor.name!r}, of shape {tuple(block.shape)} and "
                f"dtype {block.dtype}"
            )
        return result


class CallableConstraint(Constraint):
    """Any callable as a constraint on whole tensors."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, w: Any, *, copy: bool | None = None) -> Any:
        return self.function(w.copy())

    def get_config(self) -> dict[str, Any]:
        return {"function": repr(self.function)}
