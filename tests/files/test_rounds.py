"""Files under constraints whose slices are measured in several rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from libraries import ROUNDOFF
from slices_to_threshold import FAMILIES, slice_of

from array_constraints import L1Ball, Simplex, Slicewise, Sparse
from array_constraints.files import check_file, open_weights, project_file
from array_constraints.files.options import Options
from array_constraints.files.run.plan import plan_for
from array_constraints.rules import Rules

KIB = 2**10
LONG = 2**21
"""Entries of a slice of two tiles."""


def projected(here, w, constraint, **options) -> tuple[np.ndarray, float]:
    """Return a file's weight projected, and how often it was read before it was written."""
    np.save(here / "w.npy", w)
    done = [0]
    project_file(
        here / "w.npy",
        here / "p.npy",
        Rules([("*", constraint)]),
        overwrite=True,
        progress=lambda n: done.__setitem__(0, done[0] + n),
        **options,
    )
    return np.load(here / "p.npy"), round(done[0] / w.nbytes) - 1  # what is written counts


@pytest.mark.parametrize("cls", [Simplex, L1Ball])
class TestSlicesBeyondAChunk:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_are_read_three_to_seven_times(self, cls, dtype, tmp_path):
        reads = []
        for family in ("normal", "cauchy", "uniform"):
            w = slice_of(family, LONG, dtype)
            found, times = projected(tmp_path, w, cls(1.0), chunk_size=64 * KIB)
            off = math.fsum(np.abs(found.astype(np.float64))) - 1
            assert abs(off) <= (6 if dtype == "float64" else 2.001) * ROUNDOFF[dtype]
            reads.append(times)
        assert 3 <= min(reads) <= max(reads) <= 7

    @pytest.mark.parametrize("axis", [0, 1, None])
    def test_have_the_same_bytes_for_any_chunks_and_workers(self, cls, axis, tmp_path):
        columns = [slice_of(family, 2**17, "float32") for family in list(FAMILIES)[:9]]
        w = np.stack(columns, axis=1)
        options = [(64 * KIB, 1), (64 * KIB, 2), (8 * 2**20, 1)]
        found = {
            projected(tmp_path, w, cls(1.0, axis), chunk_size=size, workers=workers)[
                0
            ].tobytes()
            for size, workers in options
        }
        assert len(found) == 1
        np.save(tmp_path / "w.npy", w)
        report = check_file(tmp_path / "p.npy", Rules([("*", cls(1.0, axis))]))
        assert report.satisfied
        in_memory = cls(1.0, axis)(w)
        (bits,) = found
        np.testing.assert_allclose(
            np.frombuffer(bits, w.dtype).reshape(w.shape), in_memory, atol=4 * 2.0**-24
        )

    def test_are_read_once_more_where_that_is_all(self, cls, tmp_path):
        w = np.full(LONG, 2.0**-22, dtype="float32")
        constraint = cls(0.5)
        found, times = projected(tmp_path, w, constraint, chunk_size=64 * KIB)
        assert found.tobytes() == w.tobytes()
        assert times == 2

    def test_are_planned_with_the_most_that_can_be(self, cls, tmp_path):
        np.save(tmp_path / "w.npy", np.zeros(LONG, dtype="float32"))
        for size, passes in ((64 * KIB, 1 + cls.rounds), (16 * 2**20, 1)):
            with open_weights(tmp_path / "w.npy") as source:
                rules, options = Rules([("*", cls(1.0))]), Options(chunk_size=size)
                plan = plan_for(source, rules, options, workers=1, to_project=True)
                assert plan.items[0].passes == passes
                assert plan.items[0].bytes_read(True) == passes * 4 * LONG


@pytest.mark.parametrize("constraint", [Simplex(1.0), L1Ball(1.0), Sparse(5)], ids=repr)
class TestShortSlices:
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_are_read_once_and_have_the_same_bytes_for_any_chunks(
        self, constraint, order, tmp_path
    ):
        columns = [slice_of(family, 64, "float32") for family in list(FAMILIES)[:10]]
        w = np.asarray(np.tile(np.stack(columns, axis=1), 2000), order=order)
        w[3, 17] = np.nan
        found = set()
        for size, workers in ((64 * KIB, 1), (2**20, 2), (16 * 2**20, 1)):
            projection, times = projected(
                tmp_path, w, constraint, chunk_size=size, workers=workers
            )
            assert times == 1
            found.add(projection.tobytes())
        (bits,) = found
        report = check_file(tmp_path / "p.npy", Rules([("*", constraint)]))
        assert report.tensors[0].before.violating == 1  # the slice with NaN, which stays
        expected = constraint(w)
        if isinstance(constraint, Sparse):
            assert bits == expected.tobytes()
        else:
            np.testing.assert_allclose(np.load(tmp_path / "p.npy"), expected, atol=2.0**-22)

    def test_have_the_same_bytes_in_a_stream(self, constraint, tmp_path):
        w = np.random.default_rng(0).standard_normal((64, 20000)).astype("float32")
        expected, _ = projected(tmp_path, w, constraint, chunk_size=16 * 2**20)
        np.savez(tmp_path / "w.npz", w=w)
        rules = Rules([("*", constraint)])
        for size in (64 * KIB, 16 * 2**20):
            project_file(
                tmp_path / "w.npz", tmp_path / "p.npz", rules, chunk_size=size, overwrite=True
            )
            with np.load(tmp_path / "p.npz") as found:
                assert found["w"].tobytes() == expected.tobytes()


@dataclass(frozen=True)
class NeverDone(Slicewise):
    """A constraint that asks for another round each time."""

    axis: int = 0
    rounds: ClassVar[int] = 3

    def measure(self, block: Any, axes: Any, xp: Any) -> Any:
        return xp.max(xp.abs(block), axis=axes, keepdims=True)

    def merge(self, a: Any, b: Any, xp: Any) -> Any:
        return xp.maximum(a, b)

    def next(self, measure: Any, xp: Any) -> Any:
        return self

    def excess(self, measure: Any, xp: Any) -> Any:
        return measure

    def apply(self, block: Any, measure: Any, xp: Any) -> Any:
        return block / measure


class TestAFormThatIsNeverDone:
    def test_is_an_error_in_memory(self):
        for shape in ((4, 2), (2**21, 2)):
            with pytest.raises(RuntimeError, match="NeverDone: slices are not done after 3 r"):
                NeverDone()(np.full(shape, 2.0))

    @pytest.mark.parametrize("size", [64 * KIB, 32 * 2**20])
    def test_is_an_error_of_a_run_and_leaves_nothing(self, size, tmp_path):
        with pytest.raises(RuntimeError, match="after 3 rounds of measuring"):
            projected(tmp_path, np.full(LONG, 2.0), NeverDone(), chunk_size=size)
        assert [path.name for path in tmp_path.iterdir()] == ["w.npy"]
