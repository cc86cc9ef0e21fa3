"""A disk that is full, or a file that may not grow, ends in an error that says so."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stored_weights import BY_NAME, digest

HERE = Path(__file__).parent
AS_ROOT = ["unshare", "--user", "--map-root-user", "--mount"]
MOUNTED = 'mount -t tmpfs -o size=3m tmpfs "$1" && exec "$2" "$3" "$1"'


def can_mount(folder: Path) -> bool:
    """Return whether a small file system may be mounted, in a namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    command = [*AS_ROOT, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("no file system can be mounted here")
    script = str(HERE / "full_disk.py")
    command = [*AS_ROOT, "sh", "-c", MOUNTED, "sh", str(tmp_path), sys.executable, script]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.returncode}: {run.stdout}{run.stderr}"
    full = dict(line.split() for line in run.stdout.splitlines())
    # The room of the others is taken before they begin, but for that of a journal.
    assert {name for name, count in full.items() if int(count)} >= set(full) - {"keras"}


LIMITED = """
import resource, sys, warnings
from array_constraints import MaxNorm
from array_constraints.files import ResumableError, project_file
warnings.simplefilter("error")
unraisable = []
sys.unraisablehook = unraisable.append
source, out, *limits = sys.argv[1:]
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in map(int, limits):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    try:
        project_file(source, out, [("*w", MaxNorm(9.0)), ("*", None)], overwrite=True)
    except (OSError, ResumableError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        print(cause.errno, out in str(error))
    else:
        print("done", True)
assert not unraisable, unraisable
"""


@pytest.mark.parametrize("name", ["hdf5-gzip", "npz-compressed"])
def test_a_file_that_may_not_grow_ends_no_process(name, tmp_path):
    form = BY_NAME[name]
    path, out = tmp_path / f"in{form.suffix}", tmp_path / f"out{form.suffix}"
    w = np.random.default_rng(0).standard_normal((300, 200)).astype("f4")
    form.make(path, {"w": w, "ids": np.arange(20_000)})
    before, size = digest(path), path.stat().st_size
    limits = [size // 2, size - 1, *range(size, size + 40_000, 3_000), 2 * size]
    command = [sys.executable, "-B", "-c", LIMITED, str(path), str(out), *map(str, limits)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.returncode}: {run.stdout}{run.stderr}"
    said = run.stdout.splitlines()
    assert said[0] == f"{errno.EFBIG} True"
    assert said[-1] == "done True"
    assert set(said) == {said[0], said[-1]}
    assert digest(path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, out.name])
