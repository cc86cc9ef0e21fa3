"""Fill a file system while files are projected to it, and see that nothing comes of that.

To be run where FOLDER is a small file system of its own::

    python tests/files/full_disk.py FOLDER

Each format is projected until it succeeds, with more room left each time. The disk is full once
the run has looked for room, and has begun to copy.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from stored_weights import BY_NAME, Format, digest

from array_constraints import MaxNorm
from array_constraints.files import ResumableError, project_file

ROOM = (0, 1000, 4096, 12_288, 24_576, 40_000, 80_000, 160_000, 320_000, 2_000_000)
NAMES = ("hdf5-gzip", "npz", "npz-compressed", "zarr-2", "zarr-3-sharded", "shards", "keras")
RULES = [("*w", MaxNorm(9.0)), ("*", None)]


def fill(folder: Path, room: int) -> None:
    """Take all of a file system but for so many bytes."""
    status = os.statvfs(folder)
    size = max(0, status.f_bavail * status.f_frsize - room)
    with (folder / "filler").open("wb") as file:
        if size:
            os.posix_fallocate(file.fileno(), 0, size)


def attempted(form: Format, source: Path, out: Path, room: int) -> BaseException | None:
    """Return what a run ends in whose disk is full once it copies."""

    def fill_once(count: int) -> None:
        if not (out.parent / "filler").exists():
            fill(out.parent, room)

    try:
        project_file(source, out, RULES, workers=2, progress=fill_once)
    except (OSError, ResumableError) as error:
        return error
    return None


def check_error(error: BaseException, form: Format, out: Path) -> None:
    """Raise AssertionError where an error does not say that the disk is full, and where."""
    if isinstance(error, ResumableError):
        assert form.resumable
        cause = error.__cause__
    else:
        cause = error
        assert not out.with_name(out.name + ".partial").exists()
    assert isinstance(cause, OSError), repr(cause)
    assert cause.errno == errno.ENOSPC, repr(cause)
    assert "No space left on device" in str(error)
    assert out.name in str(error), str(error)
    assert not out.exists()


def check_over(left: Path) -> None:
    """Raise AssertionError where something is still written once a run has failed."""
    before = contents(left)
    assert before
    time.sleep(0.1)
    assert contents(left) == before


def contents(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def tried(form: Format, source: Path, folder: Path) -> int:
    """Return how often the disk was full before it had room."""
    out = folder / f"out{form.suffix}"
    for full, room in enumerate(ROOM):
        error = attempted(form, source, out, room)
        (folder / "filler").unlink(missing_ok=True)
        if error is None:
            return full
        check_error(error, form, out)
        if isinstance(error, ResumableError):
            check_over(out.with_name(out.name + ".partial"))
        report = project_file(source, out, RULES, resume=True)  # there is room again
        assert report.satisfied
        remove(out)
    raise AssertionError(f"{form} needs more than {ROOM[-1]} bytes")


def remove(out: Path) -> None:
    for path in sorted(out.rglob("*"), reverse=True) if out.is_dir() else ():
        path.rmdir() if path.is_dir() else path.unlink()
    out.rmdir() if out.is_dir() else out.unlink()


def main(folder: Path) -> None:
    warnings.simplefilter("error")
    rng = np.random.default_rng(0)
    arrays = {"w": rng.standard_normal((300, 200)).astype("f4"), "ids": np.arange(20_000)}
    with tempfile.TemporaryDirectory() as text:
        for name in NAMES:
            form = BY_NAME[name]
            source = Path(text, f"in{form.suffix}")
            form.make(source, {"w": arrays["w"]} if form.single else arrays)
            before = digest(source)
            full = tried(form, source, folder)
            assert digest(source) == before
            remove(folder / f"out{form.suffix}")
            assert list(folder.iterdir()) == []
            print(name, full, flush=True)


if __name__ == "__main__":
    unraisable: list[object] = []
    sys.unraisablehook = unraisable.append
    main(Path(sys.argv[1]))
    assert not unraisable, unraisable
