"""Judge every faulty implementation, and the right ones, with many seeds: verdicts must agree.

``nox -s seeds`` runs this, with the quick profile: each fault is judged by the requirement that
it breaks (``--everything``: by all of them), the right implementations by all.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "suite"))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from array_constraints_conformance.libraries import library
from array_constraints_conformance.runner import Plan, run
from array_constraints_conformance.trial import PROFILES
from array_constraints_conformance.trial.subject import module_subject
from faults.all import CORRECT, FAULTS
from rich.progress import track

import array_constraints as ac

RIGHT = [("array_constraints", lambda: ac), *CORRECT]

SILENT = {"met", "not applicable", "not provided"}


def verdict(index: int, seed: int, everything: bool) -> tuple[int, int, frozenset[str]]:
    """Return what is not met: by fault number ``index``, then by the right implementations."""
    only: tuple[str, ...] = ()
    if index < len(FAULTS):
        fault = FAULTS[index]
        subject, name, constraints = fault.subject(), fault.library, fault.constraints
        only = () if everything else (fault.breaks,)
    else:
        (called, make), name, constraints = RIGHT[index - len(FAULTS)], "numpy", ()
        subject = module_subject(make(), called)
    plan = Plan(
        subject, [library(name)], PROFILES["quick"], seed, only=only, constraints=constraints
    )
    found = {r.requirement.id for r in run(plan) if r.outcome not in SILENT}
    return index, seed, frozenset(found)


def expected(index: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return what must not be met, and what may not be met as a consequence."""
    if index < len(FAULTS):
        return frozenset({FAULTS[index].breaks}), FAULTS[index].also
    return frozenset(), frozenset()


def called(index: int) -> str:
    return str(FAULTS[index]) if index < len(FAULTS) else RIGHT[index - len(FAULTS)][0]


def disagreements(jobs: list[tuple[int, int, bool]], processes: int) -> Iterator[str]:
    with get_context("spawn").Pool(processes) as pool:
        answers = pool.imap_unordered(_verdict, jobs)
        for index, seed, found in track(answers, total=len(jobs), description="judging"):
            breaks, also = expected(index)
            odd = (breaks - found) | (found - breaks - also)
            if odd:
                yield f"{called(index)}, seed {seed}: {', '.join(sorted(odd))}"


def _verdict(job: tuple[int, int, bool]) -> tuple[int, int, frozenset[str]]:
    return verdict(*job)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--everything", action="store_true", help="judge faults by all of it")
    parser.add_argument("--libraries", nargs="*", help="judge the faults of these alone")
    options = parser.parse_args(argv)
    chosen = [
        i
        for i in range(len(FAULTS) + len(RIGHT))
        if not options.libraries
        or (FAULTS[i].library if i < len(FAULTS) else "numpy") in options.libraries
    ]
    jobs = [(i, seed, options.everything) for seed in range(options.seeds) for i in chosen]
    odd = list(disagreements(jobs, options.processes))
    print(f"{len(chosen)} implementations, {options.seeds} seeds each: {len(odd)} disagree")
    if odd:
        raise SystemExit("\n".join(odd))


if __name__ == "__main__":
    main()
