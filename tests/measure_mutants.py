"""Mutate the library, and see whether the suite, or the project's tests, notice each mutant.

``nox -s mutants`` runs this with the operators of Cosmic Ray. A mutant is judged in processes
of its own: by the quick profile on NumPy, then by the project's tests, then by the quick
profile on other libraries, until something is not met. Those of a module for one library are
judged by what concerns it: ``STAGES_OF``. Those that nothing notices must be listed in
``tests/equivalent_mutants.toml``, each with the reason why no user could notice either.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import json
import os
import resource
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
LISTED = ROOT / "tests" / "equivalent_mutants.toml"
MODULES = tuple(
    path.relative_to(ROOT / "array_constraints").with_suffix("").as_posix()
    for pattern in ("numerics/*.py", "libraries/*.py", "executors/*.py", "sets/*.py", "*.py")
    for path in sorted((ROOT / "array_constraints").glob(pattern))
    if not path.name.startswith("__") and path.name not in ("typing.py", "rules.py")
)
LIMITS = {"numpy": 20, "tests": 200, "array_api_strict": 20, "torch": 40, "jax.numpy": 120}
LIMITS["dask.array"] = 90
"""Seconds of one processor at each stage: three times what the library itself takes."""
STAGES = tuple(LIMITS)
EVERYWHERE = STAGES[:-1]
STAGES_OF = {
    "sets/kernels": ("tests",),  # beyond the specification
    "libraries/torch": ("tests", "torch"),
    "libraries/torch_autograd": ("tests", "torch"),
    "libraries/torch_sharded": ("tests", "torch"),
    "libraries/jax": ("tests", "jax.numpy"),
    "libraries/jax_placement": ("tests", "jax.numpy"),
    "libraries/dask": ("tests", "dask.array"),
    "executors/dask": ("tests", "dask.array"),
    "libraries/strict": ("array_api_strict",),
}
TESTS = {  # in groups, the quick ones first; each costs 2 s before its first test
    "quick": ("margins", "sums", "calling", "config", "parameters", "forms", "measures"),
    "next": ("one_decision", "trees", "gradients", "floating_point_modes", "strict"),
    "slow": ("in_place", "in_memory", "lazy"),
    "sets": ("sets",),
}
TESTS_OF = {
    "libraries/torch_sharded": {"own": ("placement",)},
    "libraries/jax_placement": {"own": ("placement",)},
    "executors/dask": {"own": ("dask_integration",)},
}  # the first ones
SLOW = "torch or Torch or jax or Jax or dask or Dask or strict or keras or hundred or measuring"
CHOSEN = f"not ({SLOW}) or unknown"  # chunks of unknown length are Dask's alone
CHOSEN_OF = {
    module: f"{word} or {word.title()}"
    for module in STAGES_OF
    for word in ("torch", "jax", "dask")
    if word in module
}
PRELOADED = {
    "numpy": ("array_constraints_conformance.runner", "numpy", "ml_dtypes"),
    "tests": ("pytest", "torch", "jax", "dask.array", "array_api_strict"),  # not Hypothesis
}


class Mutant(NamedTuple):
    module: str
    was: str
    now: str
    code: str
    place: int

    @property
    def key(self) -> tuple[str, str, str]:
        return self.module, self.was, self.now


def mutants(module: str) -> Iterator[Mutant]:
    """Yield the mutants of a module, each once, that differ when they run."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    source = (ROOT / "array_constraints" / f"{module}.py").read_text()
    idle = list(_idle_lines(ast.parse(source)))
    seen = {ast.dump(ast.parse(source))}
    nodes = list(ast_nodes(get_ast(source)))
    for name in operator_names():
        if "Variable" in name:  # they need arguments
            continue
        operator = get_operator(name)()
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for i, ((line, column), _) in enumerate(places):
            if any(start <= (line, column) < stop for start, stop in idle):
                continue
            code = mutate_code(source, operator, i)
            try:
                shape = ast.dump(ast.parse(code))
            except SyntaxError:
                continue
            if shape not in seen:
                seen.add(shape)
                yield Mutant(module, *_changed(source, code), code, line)


def _idle_lines(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield the places of what never runs: annotations, protocols and ``@final``."""
    for node in ast.walk(tree):
        idle: list[ast.AST | None] = [getattr(node, "annotation", None)]
        idle.append(getattr(node, "returns", None))
        if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
            idle.append(node)
        idle += [d for d in getattr(node, "decorator_list", []) if ast.unparse(d) == "final"]
        for each in idle:
            if each is not None:
                sign = each in getattr(node, "decorator_list", [])  # "@" stands before it
                start = each.lineno, each.col_offset - sign
                yield start, (each.end_lineno, each.end_col_offset)


def _changed(source: str, code: str) -> tuple[str, str]:
    lines = list(difflib.unified_diff(source.splitlines(), code.splitlines(), n=0))[3:]
    parts = ([line[1:].strip() for line in lines if line[0] == sign] for sign in "-+")
    was, now = (" ".join(part) for part in parts)
    return was, now


class Judge:
    """A copy of the library, and what judges its mutants there at one stage."""

    def __init__(self, stage: str) -> None:
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(ROOT / "array_constraints", self.folder / "array_constraints")
        sys.path.insert(0, str(self.folder))
        sys.dont_write_bytecode = True
        self.costs: dict[str, float] = {}
        self.module = ""  # the one that is mutated
        for name in PRELOADED.get(stage, (*PRELOADED["numpy"], stage)):
            importlib.import_module(name)  # each fork then has it
        self.noticed = self.tests if stage == "tests" else partial(self.library, stage)
        if found := self.noticed():
            raise RuntimeError(f"what {stage} notices of the library itself: {found}")
        if stage != "tests":
            self.costs = json.loads((self.folder / "costs.json").read_text())

    def library(self, name: str) -> str | None:
        """Return the first requirement that is not met on a library."""
        return _in_a_fork(partial(self.suite, name), LIMITS[name])

    def suite(self, name: str) -> str | None:
        """Return the same, the cheapest ones first."""
        from array_constraints_conformance.libraries import library
        from array_constraints_conformance.runner import Plan, judge
        from array_constraints_conformance.trial import PROFILES
        from array_constraints_conformance.trial.subject import module_named

        plan = Plan(module_named("array_constraints"), [library(name)], PROFILES["quick"])
        trials, costs = {}, {}
        tasks = {f"{task[0].id} {task[1]}": task for task in plan.tasks()}
        for key in sorted(tasks, key=lambda key: self.costs.get(key, 0.0)):
            requirement, subject, lib = tasks[key]
            trial = trials.setdefault(subject, plan.trial(subject, lib))
            result = judge(requirement, subject, trial)
            if result.outcome not in ("met", "not applicable"):
                return f"suite, {name}: {requirement.id}"
            costs[key] = result.seconds
        (self.folder / "costs.json").write_text(json.dumps(costs))
        return None

    def tests(self) -> str | None:
        """Return the first of the project's tests that fails."""
        groups = (TESTS_OF.get(self.module, {}) | TESTS).values()
        found = (_in_a_fork(partial(self.tests_of, group), LIMITS["tests"]) for group in groups)
        return next(filter(None, found), None)

    def tests_of(self, group: tuple[str, ...]) -> str | None:
        """Return the first test of some files or folders that fails."""
        import pytest

        os.chdir(ROOT)
        os.environ["PYTHONPATH"] = str(self.folder)  # for the tests that start a process
        first = FirstFailure()
        chosen = CHOSEN_OF.get(self.module, CHOSEN)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-k", chosen]
        paths = [
            f"tests/{name}" if name == "sets" else f"tests/test_{name}.py" for name in group
        ]
        status = pytest.main([*options, *paths], plugins=[first])
        nothing_chosen = status == pytest.ExitCode.NO_TESTS_COLLECTED
        return f"tests: {first.name or status!r}" if status and not nothing_chosen else None

    def __call__(self, mutant: Mutant) -> str | None:
        """Return what noticed the mutant, if anything did."""
        path = self.folder / "array_constraints" / f"{mutant.module}.py"
        original, self.module = path.read_text(), mutant.module
        path.write_text(mutant.code)
        try:
            return self.noticed()
        finally:
            path.write_text(original)


class FirstFailure:
    """A plugin of pytest that keeps the name of the first test that fails."""

    name: str | None = None

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and self.name is None:
            self.name = report.nodeid

    def pytest_collectreport(self, report: Any) -> None:
        self.pytest_runtest_logreport(report)


def _in_a_fork(function: Callable[[], str | None], limit: int) -> str | None:
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


def _work_in(folder: str) -> None:
    tempfile.tempdir = folder  # removed as a whole, whatever ends a process


def _judged(task: tuple[str, Mutant]) -> tuple[Mutant, str | None]:
    global judge
    stage, mutant = task
    judge = judge or Judge(stage)
    return mutant, judge(mutant)


judge: Judge | None = None


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", nargs="*", default=MODULES, choices=MODULES)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--record", type=Path, help="append verdicts here, go on from there")
    parser.add_argument("--stages", nargs="*", default=STAGES, choices=STAGES)
    options = parser.parse_args(argv)
    os.environ.update(JAX_PLATFORMS="cpu", OMP_NUM_THREADS="1")
    listed = tomllib.loads(LISTED.read_text())["mutant"]
    equivalent = {(each["module"], each["was"], now) for each in listed for now in each["now"]}
    made = [mutant for module in options.modules for mutant in mutants(module)]
    unknown = {key for key in equivalent if key[0] in options.modules} - {m.key for m in made}
    left = [mutant for mutant in made if mutant.key not in equivalent]
    print(f"{len(made)} mutants, of which {len(made) - len(left)} are listed as equivalent")
    spawn = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for stage in options.stages:
            with spawn.Pool(options.processes, _work_in, (folder,)) as pool:
                left = _unnoticed(pool, stage, left, options.record)
            print(f"{len(left)} are left after {stage}", flush=True)
    for mutant in left:
        print(f"SURVIVES {mutant.module}\n  {mutant.was}\n  {mutant.now}")
    for module, was, now in sorted(unknown):
        print(f"LISTED, but no mutant: {module}\n  {was}\n  {now}")
    if left or unknown:
        raise SystemExit(1)


def _unnoticed(pool: Any, stage: str, left: list[Mutant], record: Path | None) -> list[Mutant]:
    """Return the mutants that a stage does not notice; those in the record are known."""
    lines = record.read_text().splitlines() if record and record.exists() else []
    known = {
        (*line[1:4], line[5]): line[4] for line in map(json.loads, lines) if line[0] == stage
    }
    wanted = [m for m in left if stage in STAGES_OF.get(m.module, EVERYWHERE)]
    todo = [(stage, m) for m in wanted if (*m.key, m.place) not in known]
    for mutant, found in pool.imap_unordered(_judged, todo):
        known[(*mutant.key, mutant.place)] = found
        if record:
            with record.open("a") as file:
                file.write(json.dumps([stage, *mutant.key, found, mutant.place]) + "\n")
    return [m for m in left if not known.get((*m.key, m.place))]


if __name__ == "__main__":
    main()
