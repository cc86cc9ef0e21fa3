"""Files whose slices are made sparse: the k-th largest magnitude is found digit by digit."""

from __future__ import annotations

import numpy as np
import pytest

from array_constraints import Sparse
from array_constraints.files import check_file, project_file
from array_constraints.rules import Rules

KIB = 2**10
LONG = 2**21
"""Entries of a slice of two tiles."""
OPTIONS = ((64 * KIB, 1), (256 * KIB, 2), (32 * 2**20, 1))


def projected(here, w, constraint, chunk_size, workers) -> tuple[np.ndarray, int]:
    """Return a file's weight projected, and how often it was read."""
    np.save(here / "w.npy", w)
    done = [0]
    project_file(
        here / "w.npy",
        here / "p.npy",
        Rules([("*", constraint)]),
        overwrite=True,
        chunk_size=chunk_size,
        workers=workers,
        progress=lambda n: done.__setitem__(0, done[0] + n),
    )
    return np.load(here / "p.npy"), round(done[0] / w.nbytes) - 1  # what is written counts


def weights(shape: tuple[int, ...], family: str, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    if family == "ties":
        w = rng.integers(-3, 4, shape).astype(dtype)
    elif family == "alike":  # most bits of all entries are the same
        w = (1 + 2.0**-40 * rng.standard_normal(shape)).astype(dtype)
    else:
        w = rng.standard_normal(shape).astype(dtype)
    w.reshape(-1)[7] = np.inf
    return w


MOST_READS = {"normal": 3, "ties": 4, "alike": 4}
"""Whatever the dtype: candidates are ranked, and no bits are counted but the first ones."""


class TestSlicesBeyondAChunk:
    @pytest.mark.parametrize("family", MOST_READS)
    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_have_the_bytes_that_memory_has_in_few_reads(self, dtype, family, tmp_path):
        w = weights((LONG,), family, dtype)
        constraint = Sparse(density=0.1)
        expected = constraint(w).tobytes()
        for chunk_size, workers in OPTIONS:
            found, reads = projected(tmp_path, w, constraint, chunk_size, workers)
            assert found.tobytes() == expected
            most = MOST_READS[family] if chunk_size <= 256 * KIB else 1
            assert reads <= most
        assert np.count_nonzero(found) == round(0.1 * w.size)
        rules = Rules([("*", constraint)])
        assert check_file(tmp_path / "p.npy", rules).satisfied
        assert not check_file(tmp_path / "w.npy", rules).satisfied

    @pytest.mark.parametrize("axis", [0, 1, (0, 2), None])
    def test_are_the_same_along_every_axis(self, axis, tmp_path):
        for family in ("normal", "ties"):
            w = weights((40, 300, 112), family, "float32")
            w[3, 4, 5] = np.nan
            w[:, 7, :] = 0
            constraint = Sparse(k=5, axis=axis)
            expected = constraint(w).tobytes()
            for chunk_size, workers in OPTIONS:
                found, _ = projected(tmp_path, w, constraint, chunk_size, workers)
                assert found.tobytes() == expected

    def test_are_read_once_more_where_nothing_is_dropped(self, tmp_path):
        w = np.zeros(LONG, "float32")
        w[[5, 100000]] = 1.0, -2.0
        found, reads = projected(tmp_path, w, Sparse(2), 64 * KIB, 1)
        assert found.tobytes() == w.tobytes()
        assert reads == 2

    def test_are_checked_in_one_read(self, tmp_path):
        w = weights((LONG,), "normal", "float32")
        np.save(tmp_path / "w.npy", w)
        done = [0]
        report = check_file(
            tmp_path / "w.npy",
            Rules([("*", Sparse(1000))]),
            chunk_size=64 * KIB,
            progress=lambda n: done.__setitem__(0, done[0] + n),
        )
        assert done[0] == w.nbytes
        (tensor,) = report.tensors
        assert tensor.before.largest == LONG - 1000

    @pytest.mark.parametrize("family", MOST_READS)
    def test_are_read_four_times_at_most_where_there_are_many(self, family, tmp_path):
        w = weights((4096, 512), family, "float32")
        constraint = Sparse(density=0.3)
        found, reads = projected(tmp_path, w, constraint, 64 * KIB, 1)
        assert found.tobytes() == constraint(w).tobytes()
        assert reads <= 4

    def test_are_the_same_in_chunks_of_any_shape(self, tmp_path):
        zarr = pytest.importorskip("zarr")
        w = weights((300, 5000), "ties", "float32")
        store = zarr.create_array(
            tmp_path / "w.zarr", shape=w.shape, chunks=(70, 300), dtype=w.dtype
        )
        store[...] = w
        for axis in (None, 1):
            constraint = Sparse(density=0.2, axis=axis)
            for chunk_size in (64 * KIB, 2**20):
                project_file(
                    tmp_path / "w.zarr",
                    tmp_path / "p.zarr",
                    Rules([("*", constraint)]),
                    overwrite=True,
                    chunk_size=chunk_size,
                )
                found = zarr.open_array(tmp_path / "p.zarr", mode="r")[...]
                assert found.tobytes() == constraint(w).tobytes()
