"""Damaged files of weights are refused, and nothing else happens: no crash, no hang, no result.

Each format is tried in a process of its own, for a library in C may end it::

    python tests/test_damaged_files.py FORMAT [FIRST [SEED [FACTOR]]]

goes through the cases of a format from the number FIRST on, with other places hit at random for
another SEED, and FACTOR times as many of them.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from damaged_files import (
    FORMATS,
    HERE,
    INDEX,
    OUTSIDE,
    Case,
    Files,
    Format,
    Link,
    fault_of,
    outside,
)

from array_constraints.files import ResumableError, check_file, open_weights, project_file

MEMORY = 2**30
"""Bytes that a damaged file may make the process take more than a good one."""
SECONDS = 20.0
"""Seconds for one file: the process is ended then."""
LEAST = 200
"""Damaged files of each format."""


@pytest.mark.parametrize("form", FORMATS.values(), ids=str)
def test_damaged_files_are_refused_and_nothing_else_happens(form: Format) -> None:
    failures, first, count = [], 0, 0
    while True:
        command = [sys.executable, __file__, form.name, str(first)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=600
        )
        lines = [json.loads(line) for line in run.stdout.splitlines()]
        failures += [line["failure"] for line in lines if "failure" in line]
        count += sum("case" in line for line in lines)
        if run.returncode == 0:
            break
        (last, *_) = [line for line in reversed(lines) if "case" in line] or [None]
        if last is None or len(failures) > 20:
            failures.append(run.stderr)
            break
        ended = signal.strsignal(-run.returncode) if run.returncode < 0 else run.returncode
        failures.append(f"{last['case']} {last['kind']} ended it: {ended}\n{run.stderr}")
        first = last["case"] + 1
    assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures)
    assert count >= LEAST


def _written(files: Files, folder: Path, here: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target.replace(HERE, str(here)))
        else:
            path.write_bytes(content.replace(HERE.encode(), str(here).encode()))


def _snapshot(folder: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            shown = path.relative_to(folder).as_posix()
            found[shown] = str(path.readlink()) if path.is_symlink() else path.read_bytes()
    return found


def _listed(path: Path) -> list[tuple[tuple[int, ...], str]] | str:
    try:
        with open_weights(path) as opened:
            return [(tensor.shape, tensor.dtype) for tensor in opened.tensors.values()]
    except ValueError as error:
        return str(error)


def _attempt(call: Callable[[], Any], source: Path) -> tuple[bool, str | None]:
    """Return whether a call came back, and what is wrong with its error."""
    try:
        call()
    except BaseException as error:
        fault = fault_of(error, source)
        if isinstance(error, ResumableError) and not (error.folder / "journal.jsonl").exists():
            fault = "resumable, but nothing is left"
        return False, fault
    return True, None


def tried(form: Format, case: Case, here: Path) -> Iterator[str]:
    """Return what is wrong with what happens when the files of a case are used."""
    folder = here / "case"
    folder.mkdir()
    _written(case.files, folder, here)
    before = _snapshot(here)
    source = folder / form.entry
    out = here / "out" if form.entry == INDEX else folder / f"out{source.suffix}"
    passed, fault = _attempt(lambda: check_file(source, form.rules, strict=True), source)
    if fault:
        yield f"check_file: {fault}"
    if passed and case.refused:
        yield "check_file accepts it"
    passed, fault = _attempt(lambda: project_file(source, out, form.rules, strict=True), source)
    if fault:
        yield f"project_file: {fault}"
    if passed and case.refused:
        yield "project_file accepts it"
    partial = out.with_name(out.name + ".partial")
    if partial.exists() and not passed:
        shutil.rmtree(partial)
    if passed:
        if _listed(out) != _listed(source):
            yield "project_file made something else"
        remove = shutil.rmtree if out.is_dir() else os.unlink
        remove(out)
    after = _snapshot(here)
    if after != before:
        changed = {n for n in {*before, *after} if before.get(n) != after.get(n)}
        yield f"project_file left or changed {sorted(changed)}"
    shutil.rmtree(folder)


def _said(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _warned(noted: list[str], message: Any, category: Any, file: str, *place: Any) -> None:
    arithmetic = Path(file).parent.name == "array_constraints"  # NaNs are no damage
    if category is not RuntimeWarning or not arithmetic:
        noted.append(f"a warning: {message!r} {Path(file).name}:{place[0]}")


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main(name: str, first: int = 0, seed: int = 0, factor: int = 1) -> None:
    faulthandler.enable()
    noted: list[str] = []
    warnings.simplefilter("always")
    warnings.showwarning = functools.partial(_warned, noted)
    sys.unraisablehook = lambda it: noted.append(f"not raised: {it.exc_value!r}, {it.object!r}")
    threading.excepthook = lambda it: noted.append(f"in a thread: {it.exc_value!r}")
    os.sync = lambda: None  # nothing here has to outlive the machine
    os.fsync = os.fdatasync = lambda descriptor: None  # type: ignore[assignment]
    form = FORMATS[name]
    with tempfile.TemporaryDirectory() as text:
        here = Path(text)
        _written(outside(), here / OUTSIDE, here)
        for base in form.bases():
            if faults := list(tried(form, Case("good", base), here)):
                raise SystemExit(f"a good file: {faults}")
        _limit_memory()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        for i, case in enumerate(form.all_cases(seed, factor)):
            if i < first:
                continue
            _said(case=i, kind=case.kind)
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            faults = list(tried(form, case, here))
            signal.setitimer(signal.ITIMER_REAL, 0)
            for fault in dict.fromkeys([*faults, *noted]):
                _said(failure=f"{i} {case.kind}: {fault}")
            noted.clear()
        gc.collect()
        left = len(list(Path("/proc/self/fd").iterdir())) - descriptors
        if left > 0:
            _said(failure=f"{left} files were left open")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
