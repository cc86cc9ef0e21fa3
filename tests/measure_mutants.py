"""Mutate the library, and see whether the suite, or the project's tests, notice each mutant.

``nox -s mutants`` runs this with the operators of Cosmic Ray. A mutant is judged in processes
of its own: by the quick profile on NumPy, then by the project's tests, then by the quick
profile on other libraries, until something is not met; each time by the trials that run the
lines that changed, as coverage.py finds them in the library itself. Mutants of a module for one
library are judged by what concerns it: ``STAGES_OF``. Those that nothing notices must be listed
in ``tests/equivalent_mutants.toml``, each with the reason why no user could notice either;
``--listed`` judges those alone: whatever notices one shows that its reason is false.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import tomllib
from multiprocessing import get_context
from pathlib import Path

from mutant_trials import Judge, Measured
from mutation import MODULES, ROOT, Mutant, mutants

LISTED = ROOT / "tests" / "equivalent_mutants.toml"
EVERYWHERE = (
    "numpy",
    "tests",
    "tests of torch",
    "tests of jax",
    "array_api_strict",
    "torch",
    "jax.numpy",
)
STAGES_OF = {
    "sets/kernels": ("tests",),  # beyond the specification
    "libraries/base": (*EVERYWHERE, "tests of dask"),
    "libraries/torch": ("tests of torch", "torch"),
    "libraries/torch_autograd": ("tests of torch", "torch"),
    "libraries/torch_kinds": ("tests of torch", "torch"),
    "libraries/torch_rows": ("tests of torch", "torch"),
    "libraries/torch_sharded": ("tests of torch",),
    "libraries/jax": ("tests of jax", "jax.numpy"),
    "libraries/jax_placement": ("tests of jax", "jax.numpy"),
    "libraries/dask": ("tests of dask", "dask.array"),
    "executors/dask": ("tests of dask", "dask.array"),
    "executors/grid": ("numpy", "tests", "tests of files"),
    "libraries/strict": ("array_api_strict",),
}
STAGES = tuple(dict.fromkeys(sum(STAGES_OF.values(), EVERYWHERE)))


judge: Judge | None = None


def _begin(folder: str, stage: str) -> None:
    global judge
    tempfile.tempdir = folder  # removed as a whole, whatever ends a process
    judge = Judge(stage)


def _measured() -> Measured:
    assert judge is not None
    return judge.measured()


def _judged(task: tuple[Mutant, list[str], float]) -> tuple[Mutant, str | None]:
    assert judge is not None
    return task[0], judge(*task)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", nargs="*", default=MODULES, choices=MODULES)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--record", type=Path, help="append verdicts here, go on from there")
    parser.add_argument("--stages", nargs="*", default=STAGES, choices=STAGES)
    parser.add_argument("--listed", action="store_true", help="judge those that are listed")
    options = parser.parse_args(argv)
    os.environ.update(JAX_PLATFORMS="cpu", OMP_NUM_THREADS="1")
    listed = tomllib.loads(LISTED.read_text())["mutant"]
    equivalent = {
        (each["module"], each["within"], each["was"], now)
        for each in listed
        for now in each["now"]
    }
    with get_context("spawn").Pool(options.processes) as pool:
        made = [m for each in pool.imap(_mutants, options.modules) for m in each]
    unknown = {key for key in equivalent if key[0] in options.modules} - {m.key for m in made}
    judged = [mutant for mutant in made if (mutant.key in equivalent) is options.listed]
    left = judged
    print(f"{len(made)} mutants, of which {len(left)} are judged")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for stage in options.stages:
            left = _unnoticed(stage, left, options, folder)
            print(f"{len(left)} are left after {stage}", flush=True)
    wrong = [m for m in judged if m not in left] if options.listed else left
    for mutant in wrong:
        print(f"{'NOTICED' if options.listed else 'SURVIVES'} {mutant.module} {mutant.within}")
        print(f"  {mutant.was}\n  {mutant.now}")
    for module, within, was, now in sorted(unknown):
        print(f"LISTED, but no mutant: {module} {within}\n  {was}\n  {now}")
    if wrong or unknown:
        raise SystemExit(1)


def _mutants(module: str) -> list[Mutant]:
    return list(mutants(module))


def _unnoticed(
    stage: str, left: list[Mutant], options: argparse.Namespace, folder: str
) -> list[Mutant]:
    """Return the mutants that a stage does not notice; those in the record are known."""
    record: Path | None = options.record
    lines = record.read_text().splitlines() if record and record.exists() else []
    known = {tuple(place): found for at, *place, found in map(json.loads, lines) if at == stage}
    asked = [m for m in left if stage in STAGES_OF.get(m.module, EVERYWHERE)]
    asked = [m for m in asked if m.place not in known]
    spawn = get_context("spawn")
    if asked:
        with spawn.Pool(1, _begin, (folder, stage)) as pool:
            measured = pool.apply(_measured)
        tasks = []
        for mutant in asked:
            trials = measured.trials(mutant)
            tasks.append((mutant, trials, sum(map(measured.seconds.__getitem__, trials))))
        print(f"{sum(bool(t[1]) for t in tasks)} of {len(tasks)} run in {stage}", flush=True)
        with spawn.Pool(options.processes, _begin, (folder, stage)) as pool:
            for mutant, found in pool.imap_unordered(_judged, tasks):
                known[mutant.place] = found
                if record:
                    with record.open("a") as file:
                        file.write(json.dumps([stage, *mutant.place, found]) + "\n")
    return [m for m in left if not known.get(m.place)]


if __name__ == "__main__":
    main()
