"""Constraints whose slices are measured in several rounds, on arrays of every library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from libraries import DASK, LIBRARIES

from array_constraints import L1Ball, Simplex, Slicewise, reductions
from array_constraints.executors.dask import project


class Ends(NamedTuple):
    least: Any
    most: Any


class Counts(NamedTuple):
    above: Any
    others: Any


@dataclass(frozen=True, eq=False)
class Counted(Slicewise):
    """The second round: how many entries are above ``middle``, and how many are not."""

    middle: Any
    axis: int = 0
    rounds: ClassVar[int] = 2

    def measure(self, block: Any, axes: Any, xp: Any) -> Counts:
        above = xp.astype(block > self.middle, self.middle.dtype)
        return Counts(reductions.sum(above, axes, xp), reductions.sum(1 - above, axes, xp))

    def merge(self, a: Counts, b: Counts, xp: Any) -> Counts:
        return Counts(a.above + b.above, a.others + b.others)

    def excess(self, measure: Counts, xp: Any) -> Any:
        return xp.maximum(measure.above - measure.others, xp.zeros_like(measure.above))

    def apply(self, block: Any, measure: Counts, xp: Any) -> Any:
        return xp.astype(block - self.middle, block.dtype)


@dataclass(frozen=True)
class FewLarge(Slicewise):
    """Shift slices of which more than half of the entries are above the middle of the ends."""

    axis: int = 0
    rounds: ClassVar[int] = 2

    def measure(self, block: Any, axes: Any, xp: Any) -> Ends:
        v = reductions.accumulated(block, xp)
        return Ends(xp.min(v, axis=axes, keepdims=True), xp.max(v, axis=axes, keepdims=True))

    def merge(self, a: Ends, b: Ends, xp: Any) -> Ends:
        return Ends(xp.minimum(a.least, b.least), xp.maximum(a.most, b.most))

    def excess(self, measure: Ends, xp: Any) -> Any:
        return measure.most - measure.least

    def next(self, measure: Ends, xp: Any) -> Counted:
        return Counted((measure.least + measure.most) / 2)

    def apply(self, block: Any, measure: Ends, xp: Any) -> Any:
        return block


W = np.asarray([[4.0, 4.0], [3.0, 1.0], [0.0, 0.0]])
EXPECTED = [[2.0, 4.0], [1.0, 1.0], [-2.0, 0.0]]


def read_from(w: np.ndarray, chunks: tuple[int, ...], reads: list[int]) -> Any:
    """Return a Dask array that counts how often a chunk of it is made."""
    import dask.array

    def counted(block: np.ndarray) -> np.ndarray:
        reads.append(1)
        return block + 0

    meta = np.empty((0, 0), dtype=w.dtype)
    return dask.array.from_array(w, chunks=chunks).map_blocks(counted, meta=meta)


class TestARoundOfOnesOwn:
    @pytest.mark.parametrize("library", LIBRARIES, ids=str)
    def test_runs_on_every_library(self, library):
        with library.active():
            np.testing.assert_array_equal(
                library.numpy(FewLarge()(library.array(W))), EXPECTED, strict=False
            )

    @pytest.mark.parametrize("rows", [3, 2**20 + 3])
    def test_runs_in_blocks_and_in_place(self, rows):
        w = np.resize(W, (rows, 2))
        expected = np.resize(EXPECTED, (rows, 2))
        np.testing.assert_array_equal(FewLarge()(w), expected)
        FewLarge()(w, copy=False)
        np.testing.assert_array_equal(w, expected)

    def test_runs_chunk_by_chunk_and_reads_again(self):
        reads: list[int] = []
        for chunks in ((1, 2), (2, 1)):
            w = read_from(W, chunks, reads)
            np.testing.assert_array_equal(FewLarge()(w), EXPECTED)
            reads.clear()
            result = project(FewLarge(), w).compute(scheduler="synchronous")
            np.testing.assert_array_equal(result, EXPECTED)
            assert len(reads) == 3 * w.npartitions


@pytest.mark.parametrize("constraint", [Simplex(1.0), L1Ball(2.0)], ids=str)
class TestChunks:
    W = np.random.default_rng(0).standard_normal((1000, 6))

    def test_give_what_the_whole_gives(self, constraint):
        for chunks in ((100, 6), (300, 4), (1000, 2)):
            w = read_from(self.W, chunks, [])
            np.testing.assert_allclose(constraint(w), constraint(self.W), atol=1e-15)
            assert constraint(w).chunks == w.chunks
            violation = constraint.violation(w)
            np.testing.assert_allclose(violation, constraint.violation(self.W), rtol=1e-12)
            assert not constraint.violation(constraint(w)).compute().any()

    def test_are_read_as_often_as_it_takes(self, constraint):
        reads: list[int] = []
        for chunks, most in (((100, 6), 7), ((300, 4), 7), ((1000, 2), 1)):
            w = read_from(self.W, chunks, reads)
            reads.clear()
            result = project(constraint, w).compute(scheduler="synchronous")
            np.testing.assert_allclose(result, constraint(self.W), atol=1e-15)
            assert len(reads) <= most * w.npartitions
            reads.clear()
            project(constraint, w * 0 + 1e-3 / 1000).compute(scheduler="synchronous")
            assert len(reads) <= most * w.npartitions

    def test_of_unknown_size_or_none_are_taken(self, constraint):
        import dask.array

        w = dask.array.from_array(self.W, chunks=(250, 6))
        some = w[w[:, 0] > 10]
        np.testing.assert_array_equal(constraint(some).compute(), np.empty((0, 6)))
        most = w[w[:, 0] > -1]
        expected = constraint(self.W[self.W[:, 0] > -1])
        np.testing.assert_allclose(constraint(most).compute(), expected, atol=1e-15)

    def test_that_are_not_done_are_an_error(self, constraint):
        with DASK.active():
            w = DASK.array(self.W).rechunk((500, 6))
            limited = type("Limited", (type(constraint),), {"rounds": 2})
            hard = limited(100.0)
            for lazy in (hard(w), project(hard, w)):
                with pytest.raises(RuntimeError, match="Limited: slices are not done after 2"):
                    lazy.compute(scheduler="synchronous")
