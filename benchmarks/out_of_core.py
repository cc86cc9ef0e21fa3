"""Time the constraining of a file beside a copy of it: ``python -m benchmarks.out_of_core``.

Rounds are interleaved in random order, in one process with two threads. The copy reads and
writes the same file, each thread with one buffer that it uses again, and ends with the same
``fsync``. *Cold* means that the pages of the source are not in memory when
a case begins.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
from rich.progress import track

from array_constraints import MaxNorm, NonNeg
from array_constraints.files import project_file
from benchmarks import pages

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
COLUMNS, WORKERS = 2**15, 2
PIECE = 2**22  # bytes that the copy moves at a time: larger ones are slower
CONSTRAINTS = {
    "`MaxNorm`, slices across chunks (2 reads)": MaxNorm(100.0, axis=0),
    "`MaxNorm`, slices within a chunk": MaxNorm(150.0, axis=1),
    "`MaxNorm`, nothing violated": MaxNorm(1e6, axis=0),
    "`NonNeg`": NonNeg(),
}


def make(path: Path, gibibytes: float, dtype: np.dtype) -> None:
    block = np.random.default_rng(0).standard_normal((256, COLUMNS)).astype(dtype)
    rows = int(gibibytes * 2**30) // (COLUMNS * dtype.itemsize)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(rows, COLUMNS))
    for start in range(0, rows, len(block)):
        out[start : start + len(block)] = block[: rows - start]
    out.flush()


def forget(path: Path) -> None:
    """Have the pages of a file dropped from memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copy(path: Path, out: Path) -> None:
    size, local = path.stat().st_size, threading.local()
    with path.open("rb", buffering=0) as source, out.open("wb", buffering=0) as target:
        os.posix_fallocate(target.fileno(), 0, size)

        def move(at: int) -> None:
            if not hasattr(local, "buffer"):
                local.buffer = memoryview(bytearray(PIECE))
            piece = local.buffer[: min(PIECE, size - at)]
            os.preadv(source.fileno(), [piece], at)
            os.pwrite(target.fileno(), piece, at)

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(move, range(0, size, PIECE)))
        os.fsync(target.fileno())


def cases(path: Path, out: Path) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {"copy": lambda: copy(path, out)}
    for name, constraint in CONSTRAINTS.items():
        found[name] = lambda c=constraint: project_file(path, out, c, workers=WORKERS)
    return found


def times(path: Path, out: Path, rounds: int, cold: bool, shown: str) -> dict[str, list[float]]:
    runs = cases(path, out)
    found: dict[str, list[float]] = {name: [] for name in runs}
    todo = [name for _ in range(rounds) for name in random.sample(list(runs), len(runs))]
    copy(path, out)  # so that the first case finds the disk as the others do
    out.unlink()
    for name in track(todo, description=shown):
        forget(path) if cold else path.read_bytes() if not found[name] else None
        start = time.perf_counter()
        runs[name]()
        found[name].append(time.perf_counter() - start)
        out.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gibibytes", type=float, default=1.0, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="write the table to the docs")
    parser.add_argument("--folder", type=Path, help="where the files are made")
    args = parser.parse_args()
    lines = [
        f"{args.gibibytes:g} GiB, {args.rounds} rounds, median throughput beside the copy's.",
        "",
        "| | float32, warm | float32, cold | bfloat16, warm | bfloat16, cold |",
        "|---|---|---|---|---|",
    ]
    columns = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path, out = Path(folder, "in.npy"), Path(folder, "out.npy")
        for dtype in (np.dtype("float32"), np.dtype(ml_dtypes.bfloat16)):
            make(path, args.gibibytes, dtype)
            for cold in (False, True):
                shown = f"{dtype.name}, {'cold' if cold else 'warm'}"
                columns.append(times(path, out, args.rounds, cold, shown))
    medians = [{k: statistics.median(v) for k, v in column.items()} for column in columns]
    speeds = [f"{args.gibibytes / column['copy']:.2f} GiB/s" for column in medians]
    lines.append(f"| the copy | {' | '.join(speeds)} |")
    for name in CONSTRAINTS:
        ratios = [f"{column['copy'] / column[name]:.2f}" for column in medians]
        lines.append(f"| {name} | {' | '.join(ratios)} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if args.write:
        pages.replace(PAGE, "files", text)


if __name__ == "__main__":
    main()
