"""Mutate the library, and see whether the suite, or the project's tests, notice each mutant.

``nox -s mutants`` runs this with the operators of Cosmic Ray. A mutant is judged in its own
process: by the quick profile on NumPy, then by the project's tests, then by the quick profile
on other libraries, until something is not met. Those that nothing notices must be listed in
``tests/equivalent_mutants.toml``, each with the reason why no user could notice either.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
LISTED = ROOT / "tests" / "equivalent_mutants.toml"
MODULES = (
    "_formats",
    "_margins",
    "_norms",
    "_sums",
    "constraint",
    "execution",
    "sets/elementwise",
    "sets/kernels",
    "sets/norms",
)
STAGES = ("numpy", "tests", "torch", "jax.numpy")
STAGES_OF = {"sets/kernels": ("tests",)}  # beyond the specification
TESTS = ["margins", "measures", "sums", "lazy", "calling", "config", "parameters", "strict"]
SLOW = "torch or Torch or jax or Jax or dask or Dask or strict or keras or hundred or measuring"
CHOSEN = f"not ({SLOW}) or unknown"  # chunks of unknown length are Dask's alone
LIMIT = 20  # seconds of one processor, three times what the suite takes on NumPy


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
    """A copy of the library, and what judges its mutants there."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(ROOT / "array_constraints", self.folder / "array_constraints")
        sys.path.insert(0, str(self.folder))
        sys.dont_write_bytecode = True
        self.costs: dict[tuple[str, str], float] = {}
        if self.suite():
            raise RuntimeError("the library itself does not meet the specification")
        for name in [name for name in sys.modules if name.startswith("array_constraints.")]:
            del sys.modules[name]
        del sys.modules["array_constraints"]

    def suite(self) -> str | None:
        """Return the first requirement that is not met on NumPy, the cheapest ones first."""
        from array_constraints_conformance.libraries import library
        from array_constraints_conformance.runner import Plan, judge
        from array_constraints_conformance.subject import module_named
        from array_constraints_conformance.trial import PROFILES

        plan = Plan(module_named("array_constraints"), [library("numpy")], PROFILES["quick"])
        trials = {}
        tasks = sorted(plan.tasks(), key=lambda t: self.costs.get((t[0].id, t[1]), 0.0))
        for requirement, name, lib in tasks:
            trial = trials.setdefault(name, plan.trial(name, lib))
            result = judge(requirement, name, trial)
            if result.outcome not in ("met", "not applicable"):
                return f"suite, numpy: {requirement.id}"
            self.costs[requirement.id, name] = result.seconds
        return None

    def tests(self, mutant: Mutant) -> str | None:
        """Return the first of the project's tests that fails, those of the module's own first."""
        own = f"tests/{mutant.module}.py".replace("sets/", "sets/test_")
        paths = [own] if (ROOT / own).exists() else []
        paths += [*(f"tests/test_{name}.py" for name in TESTS), "tests/sets"]
        options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "-k", CHOSEN]
        done = self._run("pytest", *options, *paths)
        if not done.returncode:
            return None
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        return f"tests: {failed[0][:90] if failed else done.returncode}"

    def library(self, name: str) -> str | None:
        """Return what is not met on another library."""
        suite = ("array_constraints_conformance", "--constraints", "array_constraints")
        done = self._run(*suite, "--quick", "--xp", name)
        return f"suite, {name}" if done.returncode else None

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        options = {"capture_output": True, "text": True, "cwd": ROOT, "env": environment}
        python = [sys.executable, "-P", "-B"]  # the copy, and not what is here
        return subprocess.run([*python, "-m", *command], timeout=40 * LIMIT, **options)

    def __call__(self, stage: str, mutant: Mutant) -> str | None:
        """Return what noticed the mutant at a stage, if anything did."""
        path = self.folder / "array_constraints" / f"{mutant.module}.py"
        original = path.read_text()
        path.write_text(mutant.code)
        try:
            if stage == "numpy":
                return _in_a_fork(self.suite)
            return self.tests(mutant) if stage == "tests" else self.library(stage)
        except subprocess.TimeoutExpired:
            return "no end"
        finally:
            path.write_text(original)


def _in_a_fork(function: Callable[[], str | None]) -> str | None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
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
    judge = judge or Judge()
    return task[1], judge(*task)


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
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        spawn.Pool(options.processes, _work_in, (folder,)) as pool,
    ):
        for stage in options.stages:
            left = _unnoticed(pool, stage, left, options.record)
            print(f"{len(left)} are left after {stage}")
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
    wanted = [m for m in left if stage in STAGES_OF.get(m.module, STAGES)]
    todo = [(stage, m) for m in wanted if (*m.key, m.place) not in known]
    for mutant, found in pool.imap_unordered(_judged, todo):
        known[(*mutant.key, mutant.place)] = found
        if record:
            with record.open("a") as file:
                file.write(json.dumps([stage, *mutant.key, found, mutant.place]) + "\n")
    return [m for m in left if not known.get((*m.key, m.place))]


if __name__ == "__main__":
    main()
