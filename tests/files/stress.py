"""Let eight processes run on one target, with every mix of options, and kill many of them.

``python stress.py FORMAT SECONDS SEED [without-renameat2]`` prints what happened as JSON. It
fails where a reader ever saw a target that is no complete result, or a run ended with an error
that says nothing about the other runs.
"""

from __future__ import annotations

import collections
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from kill import OPTIONS, child, finished, wait_for_lines
from stored_weights import BY_NAME, Format, digest

from array_constraints import MaxNorm
from array_constraints.executors import grid
from array_constraints.files import project_file
from array_constraints.files.delivery import renames
from array_constraints.files.run import project as running
from array_constraints.files.run.target import check_leftover

PROCESSES = 8
PATIENCE = 120.0  # seconds more, where no run has completed
CONSTRAINT = MaxNorm(6.0, axis=0)
ALLOWED = {
    "at work": r"BlockingIOError: \S*\.partial: another run is at work there",
    "left": r"FileExistsError: \S*\.partial: is left from an earlier run",
    "exists": r"FileExistsError: \S*: exists already: replace it with overwrite=True",
    "taken away": r"FileNotFoundError: \[Errno 2\] [^:]*: '(?!\S*\.partial)\S*/out\S*'",
    "appeared": r"(FileExistsError|ResumableError: FileExistsError): \S*: exists by now",
}


class Storm:
    """One target, two sources, and the results that they have."""

    def __init__(self, form: Format, folder: Path) -> None:
        self.form, self.folder = form, folder
        self.sources = [folder / f"{name}{form.suffix}" for name in ("first", "second")]
        self.target = folder / f"out{form.suffix}"
        self.journal = folder / f"out{form.suffix}.partial" / "journal.jsonl"
        rng = np.random.default_rng(0)
        for source in self.sources:
            w = rng.standard_normal((150, 300)).astype("f4")
            arrays = {"w": w} if form.single else {"w": w, "v": w[:70], "ids": np.arange(5)}
            finished(lambda arrays=arrays, source=source: form.make(source, arrays))
        self.rules = [("*", CONSTRAINT)] if form.single else [("*[wv]", CONSTRAINT)]
        self.results = set()
        for source in self.sources:
            result = source.with_stem(source.stem + "-result")
            finished(lambda a=source, b=result: project_file(a, b, self.rules, **OPTIONS))
            self.results.add(digest(result))
        started = time.monotonic()
        finished(lambda: project_file(source, result, self.rules, overwrite=True, **OPTIONS))
        self.lasted = time.monotonic() - started

    def run(self, rng: random.Random, said: Path) -> str:
        """Begin a run in a process of its own, perhaps kill it, and return how it ended."""
        options = {"resume": rng.random() < 0.7, "overwrite": rng.random() < 0.5}
        source = self.sources[rng.random() < 0.2]

        def continued(*arguments: Any) -> bool:
            locked.write_text("\n")
            found = check_leftover(*arguments)
            if found:
                said.write_text("continued")
            return found

        def project() -> None:
            running.check_leftover = continued
            try:
                project_file(source, self.target, self.rules, **OPTIONS, **options)
            except Exception as error:
                said.write_text(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
                os._exit(1)

        locked = said.with_suffix(".locked")
        for file in (said, locked):
            file.unlink(missing_ok=True)
        pid = child(project)
        if rng.random() < 0.5:
            if rng.random() < 0.5:  # in the midst of its work
                wait_for_lines(locked, 1, pid)
                wait_for_lines(self.journal, rng.randrange(2, 6), pid)
            else:
                time.sleep(rng.uniform(0.0, 5 * self.lasted))  # many share the processors
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            return "killed"
        if status:
            return _ending(said.read_text())
        return said.read_text() if said.exists() else "complete"

    def remove(self, name: str) -> None:
        """Take the target away, as its owner does who wants another."""
        away = self.folder / f"away-{name}"
        try:
            self.target.rename(away)
        except FileNotFoundError:
            return
        shutil.rmtree(away) if away.is_dir() else away.unlink()

    def seen(self) -> str:
        """Return what a reader finds at the target."""
        try:
            descriptor = os.open(self.target, os.O_RDONLY)
        except FileNotFoundError:
            time.sleep(0.0005)
            return "absent"
        try:
            opened = os.fstat(descriptor)
            found = digest(Path(f"/proc/self/fd/{descriptor}"))
            if found in self.results:
                return "complete"
            if os.path.samestat(opened, self.target.stat()):
                return f"WRONG: {found}"
        except FileNotFoundError:
            pass
        finally:
            os.close(descriptor)
        return "replaced while it was read"


def _ending(text: str) -> str:
    for ending, pattern in ALLOWED.items():
        if re.match(pattern, text):
            return ending
    return f"WRONG: {text}"


class Clock:
    """When to end: after so many seconds, and not before a run has completed."""

    def __init__(self, seconds: float, completed: Any) -> None:
        self.until, self.completed = time.time() + seconds, completed

    def __bool__(self) -> bool:
        now = time.time()
        return now < self.until or (now < self.until + PATIENCE and not self.completed.is_set())


def work(storm: Storm, seed: int, clock: Clock, queue: Any) -> None:
    rng, endings = random.Random(seed), collections.Counter[str]()
    while clock:
        ending = storm.run(rng, storm.folder / f"said-{seed}")
        endings[ending] += 1
        if ending == "complete":
            clock.completed.set()
        if rng.random() < 0.1:
            storm.remove(str(seed))
    queue.put((endings, collections.Counter()))


def watch(storm: Storm, clock: Clock, queue: Any) -> None:
    seen = collections.Counter[str]()
    while clock:
        seen[storm.seen()] += 1
    queue.put((collections.Counter(), seen))


def main(name: str, seconds: float, seed: int, *without: str) -> None:
    running._SECONDS_BETWEEN_SYNCS = 0.0  # so that every region gets a line in the journal
    grid.ENTRIES_OF_TILE = 2**12  # so that there are many
    if without:
        renames._system_call = lambda: None
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    storm, context = Storm(BY_NAME[name], folder), multiprocessing.get_context("fork")
    before, queue = [digest(source) for source in storm.sources], context.Queue()
    clock = Clock(seconds, context.Event())
    jobs = [(work, (storm, 100 * seed + i, clock, queue)) for i in range(PROCESSES)]
    jobs.append((watch, (storm, clock, queue)))
    processes = [context.Process(target=target, args=args) for target, args in jobs]
    for process in processes:
        process.start()
    endings, seen = collections.Counter[str](), collections.Counter[str]()
    for _ in processes:
        more, also = queue.get()
        endings, seen = endings + more, seen + also
    for process in processes:
        process.join()
    last = {"resume": True, "overwrite": True}
    finished(
        lambda: project_file(storm.sources[0], storm.target, storm.rules, **OPTIONS, **last)
    )
    if [digest(source) for source in storm.sources] != before:
        raise SystemExit("a source has changed")
    print(json.dumps({"endings": endings, "seen": seen}, indent=1))
    if any(text.startswith("WRONG") for text in endings | seen):
        raise SystemExit("a run ended as none may, or a reader saw what no one may see")
    left = sorted(p.name for p in folder.iterdir() if p.name.startswith(("out", "away")))
    if left != [storm.target.name] or storm.seen() != "complete":
        raise SystemExit(f"the last run has left {left}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
