"""What judges a mutant: trials, which are requirements of the suite or tests of the project."""

from __future__ import annotations

import compileall
import functools
import importlib
import itertools
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mutation import ROOT, Mutant

TESTS = {  # in groups, the quick ones first; each costs half a second before its first test
    "quick": (
        "margins",
        "sums",
        "subnormals",
        "calling",
        "config",
        "parameters",
        "forms",
        "measures",
        "rescaling",
        "block_sums",
        "numpy",
        "standard",
        "blocks",
        "finding_libraries",
    ),
    "next": (
        "one_decision",
        "trees",
        "gradients",
        "floating_point_modes",
        "strict",
        "torch*",
        "jax*",
    ),
    "slow": ("in_place", "in_memory", "lazy", "bounds"),
    "sets": ("elementwise", "kernels", "norms"),
    "files": ("grid", "formats"),
    "own": ("placement", "dask_integration"),
}
SLOW = (
    "torch or jax or dask or strict or keras or hundred or measuring or section or formats.py"
)
CHOSEN = {
    "tests": f"not ({SLOW}) or unknown",  # chunks of unknown length are Dask's alone
    "tests of torch": "torch",
    "tests of jax": "jax",
    "tests of dask": "dask and not cluster",  # whose processes a fork cannot have
    "tests of files": "formats.py",
}
MOST = 12.0
"""Seconds of trials for each mutant: most of them, without the few that take long.

Those of OWN_TESTS run in any case.
"""
OWN_TESTS = {
    "libraries/base": ("test_standard.py",),
    "libraries/torch": ("TestCompiled",),
    "libraries/torch_sharded": ("shards_of_pytorch",),
    "libraries/torch_autograd": ("TestStated",),
    "libraries/jax": ("test_jax.py", "test_jax_sums.py"),  # others take the seconds
    "libraries/jax_placement": ("test_jax_placement.py", "weights_of_jax"),
    "executors/dask": ("test_dask_integration",),
    "forms/slicewise": ("takes_the_place_of_what_is_derived",),
    "parameters/judging": ("made_where_it_is_traced",),
}
"""Tests of a module that judge it in any case.

Most run it where coverage.py does not look: in processes of their own, as torch.compile reads
it, or as tests are imported.
"""
PRELOADED = {
    "suite": ("array_constraints_conformance.runner", "ml_dtypes"),
    "tests": ("pytest", "torch", "jax", "dask.array", "array_api_strict"),  # not Hypothesis
}


class Measured(NamedTuple):
    """What the trials of a stage cost, and what they run, with the library itself."""

    seconds: dict[str, float]
    runs: dict[str, dict[int, list[str]]]
    """The trials that run each line of each module."""

    def trials(self, mutant: Mutant) -> list[str]:
        """Return those that can notice a mutant, the cheapest ones first."""
        runs, names = self.runs.get(mutant.module, {}), OWN_TESTS.get(mutant.module, ())
        own = {trial for trial in self.seconds if any(name in trial for name in names)}
        found = {trial for line in mutant.lines for trial in runs.get(line, ())} | own
        every = not mutant.lines  # it runs as its module is imported
        order = sorted(self.seconds if every else found, key=self.seconds.__getitem__)
        until = itertools.accumulate(map(self.seconds.__getitem__, order))
        return [
            trial
            for trial, seconds in zip(order, until, strict=True)
            if seconds <= MOST or trial in own
        ]


class Trials:
    """The trials of one run, in order, with what they cost and run where that is measured."""

    def __init__(self, wanted: Iterable[str] | None = None, measuring: Any = None) -> None:
        self.order = None if wanted is None else {key: i for i, key in enumerate(wanted)}
        self.measuring = measuring
        self.seconds: dict[str, float] = {}

    def chosen(self, keys: Iterable[str]) -> list[str]:
        """Return those of some trials that are wanted, in order; all if none is named."""
        if self.order is None:
            return list(keys)
        return sorted(self.order.keys() & set(keys), key=self.order.__getitem__)

    def files(self, paths: list[str]) -> list[str]:
        """Return the files of tests that have any of the trials."""
        if self.order is None:
            return paths
        having = {key.partition("::")[0] for key in self.order}
        return [path for path in paths if path in having]

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Time one trial, and let coverage.py note which lines it runs."""
        if self.measuring:
            for kept in _kept():
                kept.cache_clear()
            self.measuring.switch_context(key)
        start = time.perf_counter()
        yield
        self.seconds[key] = time.perf_counter() - start
        if self.measuring:
            self.measuring.switch_context("between trials")


def _kept() -> Iterator[Any]:
    """Yield the functions of the library that keep results: they must run in each trial."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("array_constraints."):
            yield from (each for each in vars(module).values() if hasattr(each, "cache_clear"))


class Judge:
    """A copy of the library, and what judges its mutants there at one stage."""

    def __init__(self, stage: str) -> None:
        self.folder, self.stage = Path(tempfile.mkdtemp()), stage
        shutil.copytree(
            ROOT / "array_constraints",
            self.folder / "array_constraints",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        compileall.compile_dir(self.folder, quiet=2)
        sys.path.insert(0, str(self.folder))
        sys.dont_write_bytecode = True
        suite = stage not in CHOSEN
        wanted = (*PRELOADED["suite"], stage) if suite else PRELOADED["tests"]
        for name in wanted:
            importlib.import_module(name)  # each fork then has it
        self.noticed = self.suite if suite else self.tests

    def measured(self) -> Measured:
        """Return what each trial costs and which lines it runs, in the library itself."""
        answer = self.folder / "trials.json"
        found = _in_a_fork(functools.partial(self.measure, answer), 3600)
        if not found:
            seconds, runs = json.loads(answer.read_text())
            trials = Trials(sorted(seconds, key=seconds.__getitem__))
            found = _in_a_fork(lambda: self.noticed(trials), 3600)  # without coverage.py
        if found:
            raise RuntimeError(f"what {self.stage} notices of the library itself: {found}")
        lines = {key: {int(line): runs[key][line] for line in runs[key]} for key in runs}
        if not lines["constraint"]:
            raise RuntimeError(f"{self.stage} does not run the copy of the library")
        return Measured(seconds, lines)

    def measure(self, answer: Path) -> str | None:
        """Run all trials with coverage.py, and write down what they cost and run."""
        import coverage

        package = self.folder / "array_constraints"
        measuring = coverage.Coverage(data_file=None, source=[str(package)])
        measuring.start()
        trials = Trials(measuring=measuring)
        found = self.noticed(trials)
        measuring.stop()
        data = measuring.get_data()
        runs = {
            Path(file).relative_to(package).with_suffix("").as_posix(): {
                line: [trial for trial in names if trial in trials.seconds]
                for line, names in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        answer.write_text(json.dumps([trials.seconds, runs]))
        return found

    def suite(self, trials: Trials) -> str | None:
        """Return the first requirement that is not met on the library of this stage."""
        from array_constraints_conformance.libraries import library
        from array_constraints_conformance.runner import Plan, judge
        from array_constraints_conformance.trial import PROFILES
        from array_constraints_conformance.trial.subject import module_named

        subject = module_named("array_constraints")
        plan = Plan(subject, [library(self.stage)], PROFILES["quick"])
        trial_of = functools.cache(plan.trial)
        tasks = {f"{task[0].id} {task[1]}": task for task in plan.tasks()}
        for key in trials.chosen(tasks):
            requirement, name, lib = tasks[key]
            trial = trial_of(name, lib)
            with trials.of(key):
                result = judge(requirement, name, trial)
            if result.outcome not in ("met", "not applicable"):
                return key
        return None

    def tests(self, trials: Trials) -> str | None:
        """Return the first of the project's tests that fails."""
        os.chdir(ROOT)
        os.environ["PYTHONPATH"] = str(self.folder)  # for the tests that start a process
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        folders = "tests tests/suite tests/files tests/integrations"  # not the library as it is
        options = ["-qp", "no:cacheprovider", "-p", "_hypothesis_pytestplugin"]
        options += ["--assert=plain", "-o", f"pythonpath={folders}", "-k", CHOSEN[self.stage]]
        options += [] if trials.measuring else ["-x"]
        for group in TESTS.values():
            files = [
                path.relative_to(ROOT).as_posix()
                for name in group
                for path in sorted(ROOT.glob(f"tests/**/test_{name}.py"))
            ]
            files = trials.files(files)
            chosen = Chosen(trials)
            status = pytest.main([*options, *files], plugins=[chosen]) if files else 0
            if status and not trials.measuring:  # coverage.py takes memory, too
                return chosen.failed or repr(status)
        return None

    def __call__(self, mutant: Mutant, trials: list[str], seconds: float) -> str | None:
        """Return which of some trials noticed the mutant, if any did."""
        path = self.folder / "array_constraints" / f"{mutant.module}.py"
        if not trials:
            return None
        original, status = path.read_text(), path.stat()
        path.write_text(mutant.code)
        try:
            return _in_a_fork(lambda: self.noticed(Trials(trials)), 10 + int(4 * seconds))
        finally:
            path.write_text(original)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # its bytecode is valid


class Chosen:
    """A plugin of pytest that runs the trials, and keeps the name of the first that fails."""

    def __init__(self, trials: Trials) -> None:
        self.trials = trials
        self.failed: str | None = None

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        named = {item.nodeid: item for item in items}
        items[:] = [named[key] for key in self.trials.chosen(named)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        with self.trials.of(item.nodeid):
            return (yield)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        self.pytest_runtest_logreport(report)


def _in_a_fork(function: Callable[[], str | None], limit: int) -> str | None:
    """Call a function in a process that has so many seconds, and return what it returns."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        try:
            found = function()
        except BaseException as error:  # a mutant that cannot even be imported
            found = f"{type(error).__name__} when it is imported"
        os.write(writing, (found or "").encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found = answer.read()
    _, status = os.waitpid(child, 0)
    return found or ("no end, or a crash" if status else None)
