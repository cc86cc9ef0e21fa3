"""Kill runs at random moments, and see what is left: ``python kill.py FORMAT KILLS SEED``.

Runs are children of this process, forked, so that thirty of them do not import everything anew.
It prints what happened as JSON, and fails where a target is neither absent, old nor complete.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from stored_weights import BY_NAME, digest

import array_constraints.files
from array_constraints import MaxNorm
from array_constraints.executors import grid
from array_constraints.files.formats import (
    hdf5,  # noqa: F401 - here, so that no run spends its time on importing it
    zarr,  # noqa: F401
)
from array_constraints.files.run import project as running

CONSTRAINT = MaxNorm(9.0, axis=0)
OPTIONS = {"chunk_size": 2**16, "workers": 2}


def child(function: Callable[[], object]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of JAX, which the child does not use
        pid = os.fork()
    if pid:
        return pid
    try:
        function()
    except BaseException as error:
        print(type(error).__name__, error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def finished(function: Callable[[], object]) -> None:
    _, status = os.waitpid(child(function), 0)
    if status:
        raise SystemExit("a run that was not killed failed")


def wait_for_lines(journal: Path, count: int, pid: int) -> None:
    """Return when a journal has so many lines, or the run is over."""
    while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        try:
            if journal.read_bytes().count(b"\n") >= count:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.001)


def main(name: str, kills: int, seed: int) -> None:
    form, rng = BY_NAME[name], random.Random(seed)
    running._SECONDS_BETWEEN_SYNCS = 0.0  # so that every region gets a line in the journal
    grid.ENTRIES_OF_TILE = 2**15  # so that there are many
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    source, out = folder / f"in{form.suffix}", folder / f"out{form.suffix}"
    partial = folder / f"{out.name}.partial"
    w = np.random.default_rng(0).standard_normal((350, 900)).astype("f4")
    arrays = {"w": w} if form.single else {"w": w, "v": w[:150], "ids": np.arange(5)}
    rules = [("*w", CONSTRAINT)] if form.single else [("*w", CONSTRAINT), ("*v", CONSTRAINT)]
    rules = [("*", CONSTRAINT)] if form.single else rules

    def project(**options: bool) -> None:
        array_constraints.files.project_file(source, out, rules, **OPTIONS, **options)

    finished(lambda: form.make(source, arrays))
    original = digest(source)
    started = time.monotonic()
    finished(project)
    lasted, complete = time.monotonic() - started, digest(out)
    seen = {"absent": 0, "old": 0, "complete": 0, "continued": 0, "torn": 0}
    for i in range(kills):
        remove(out)
        old = None
        if i % 2:  # an older result, to be replaced
            shutil.copytree(source, out) if source.is_dir() else shutil.copy(source, out)
            old = digest(out)
        pid = child(lambda: project(overwrite=True))
        if form.resumable and i % 4 < 2:
            wait_for_lines(partial / "journal.jsonl", rng.randrange(2, 12), pid)
        else:
            time.sleep(rng.uniform(0.0, lasted))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        left = digest(out) if out.exists() else None
        states = {old: "old", None: "absent", complete: "complete"}
        if left not in states:
            raise SystemExit(f"kill {i}: {out} is neither absent, old nor complete")
        if left is None and old is not None and not (partial / "old").exists():
            raise SystemExit(f"kill {i}: the old target is lost")
        seen[states[left]] += 1
        journal = partial / "journal.jsonl"
        if journal.exists():
            text = journal.read_bytes()
            seen["continued"] += b'"done"' in text
            if i % 3 == 0 and text.count(b"\n") > 1:  # the last line was not written to its end
                journal.write_bytes(text[: -rng.randrange(1, 20)] + b"{"[: i % 2])
                seen["torn"] += 1
        if left != complete:
            if left is not None:
                remove(out)  # what is there has to be overwritten, or to go
            finished(lambda: project(resume=True))
        if digest(out) != complete:
            raise SystemExit(f"kill {i}: the resumed run gave other bytes")
        if partial.exists() and left != complete:
            raise SystemExit(f"kill {i}: something is left of the run")
        if digest(source) != original:
            raise SystemExit(f"kill {i}: the source has changed")
        remove(partial)
    shutil.rmtree(folder)
    print(json.dumps(seen))


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
