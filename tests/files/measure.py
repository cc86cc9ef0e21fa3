"""Measure one run in a process of its own: ``python measure.py RUN FILE [LIMIT]``.

``RUN`` is ``max-norm`` (slices that cross chunks), ``rows`` (slices within one), ``non-neg``,
``sparse`` (rounds of measuring), or ``naive``, the plain expression on a Dask array. LIMIT, in
MiB, is set as ``RLIMIT_DATA``. It prints JSON: the peak of anonymous memory above what the
imports take, and the bytes that were read and written by system calls, both as multiples of the
file.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

import array_constraints.files
from array_constraints import MaxNorm, NonNeg, Sparse

COLUMNS = 2**13
CONSTRAINTS = {
    "max-norm": MaxNorm(30.0, axis=0),
    "rows": MaxNorm(30.0, axis=1),
    "non-neg": NonNeg(),
    "sparse": Sparse(density=0.1, axis=0),
}
CHUNK, WORKERS = 2**24, 2


def make(path: Path, mebibytes: int, dtype: str = "float32") -> None:
    """Write normal numbers, one block of 8 MiB again and again."""
    block = np.random.default_rng(0).standard_normal((256, COLUMNS)).astype(dtype)
    rows = mebibytes * 2**20 // (COLUMNS * block.itemsize)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(rows, COLUMNS))
    for start in range(0, rows, len(block)):
        out[start : start + len(block)] = block[: rows - start]
    out.flush()


def make_checkpoint(path: Path, mebibytes: int) -> None:
    """Write such numbers as ``torch.save`` does."""
    import torch

    make(path.with_suffix(".npy"), mebibytes)
    w = np.load(path.with_suffix(".npy"), mmap_mode="r+")
    torch.save({"w": torch.from_numpy(w)}, path)
    path.with_suffix(".npy").unlink()


def anonymous() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024


def transferred() -> tuple[int, int]:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"]), int(lines["wchar"])


class Peak(threading.Thread):
    """The largest anonymous memory, looked at every two milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes, self.over = anonymous(), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.002):
            self.bytes = max(self.bytes, anonymous())


class Reader:
    """A source for Dask that can be sliced, and has no ``copy``."""

    def __init__(self, path: Path) -> None:
        array = np.load(path, mmap_mode="r")
        self.path, self.shape, self.dtype, self.ndim = path, array.shape, array.dtype, 2

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.array(np.load(self.path, mmap_mode="r")[index])


def naive(path: Path, out: Path) -> None:
    import dask.array

    rows = CHUNK // (COLUMNS * 4)
    w = dask.array.from_array(
        Reader(path), chunks=(rows, COLUMNS), name="w", meta=np.empty((0, 0), "f4")
    )
    target = np.lib.format.open_memmap(out, mode="w+", dtype=w.dtype, shape=w.shape)
    w = CONSTRAINTS["max-norm"](w)
    w.store(target, scheduler="threads", num_workers=WORKERS)


def main(run: str, path: Path, limit: int | None) -> None:
    out = path.with_name(f"measured{path.suffix}")
    if run == "naive":
        import dask.array  # noqa: F401 - a part of the baseline
    baseline, peak = anonymous(), Peak()
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit << 20, limit << 20))
    peak.start()
    read, written = transferred()
    if run == "naive":
        naive(path, out)
    else:
        array_constraints.files.project_file(
            path, out, CONSTRAINTS[run], chunk_size=CHUNK, workers=WORKERS
        )
    read_after, written_after = transferred()
    peak.over.set()
    size = path.stat().st_size
    out.unlink()
    print(
        json.dumps(
            {
                "peak": peak.bytes - baseline,
                "read": (read_after - read) / size,
                "written": (written_after - written) / size,
            }
        )
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run, file, *limit = sys.argv[1:]
    main(run, Path(file), int(limit[0]) if limit else None)
