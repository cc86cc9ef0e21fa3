"""Time sets beyond Keras, one thread: beside optax, a mask of ``topk``, and ``MaxNorm``.

``python -m benchmarks.sets`` prints ratios of one run, interleaved, with how large each may be;
``--write`` puts them into ``docs/performance.md``, with what each set holds in memory.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["XLA_FLAGS"] = (
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1 "
    + os.environ.get("XLA_FLAGS", "")
)

import jax  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import torch  # noqa: E402

from array_constraints import (  # noqa: E402
    L1Ball,
    MaxNorm,
    NMSparse,
    Simplex,
    Sphere,
    UnitNorm,
)
from benchmarks import memory  # noqa: E402
from benchmarks.interleaved import Contestant, Ratio, interleave, ratio  # noqa: E402
from benchmarks.pages import replace  # noqa: E402

torch.set_num_threads(1)
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
REFERENCE = "reference"
VOCABULARY, SQUARE = (30522, 384), (4096, 4096)
Threshold = tuple[tuple[int, ...], int, float]  # shape, axis, scale
THRESHOLDS: tuple[Threshold, ...] = (
    (VOCABULARY, 0, 0.02),
    (VOCABULARY, 0, 1.0),
    (VOCABULARY, 1, 0.02),
    (VOCABULARY, 1, 1.0),
    ((1000000,), 0, 1.0),
)

Calls = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Group:
    """Calls that take turns, and how large their ratios to the reference may be."""

    case: str
    reference: str
    calls: Calls
    most: dict[str, float]


def weight(shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray[Any, Any]:
    drawn = np.random.default_rng(0).standard_normal(shape) * scale
    return drawn.astype(np.float32)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def on_each_library(constraint: Any, w: np.ndarray[Any, Any]) -> Calls:
    """Return the calls of a constraint, each with an array of its own."""
    tensor, array, compiled = (
        torch.from_numpy(w.copy()),
        jax.numpy.asarray(w),
        jax.jit(constraint),
    )
    return {
        "NumPy": lambda: constraint(w),
        "PyTorch": lambda: constraint(tensor),
        "JAX, jit": lambda: jax.block_until_ready(compiled(array)),
    }


def thresholds(cases: tuple[Threshold, ...] = THRESHOLDS) -> Iterator[Group]:
    """Yield the simplex and the L1 ball beside those of optax under ``jit``."""
    peers = {
        Simplex: optax.projections.projection_simplex,
        L1Ball: optax.projections.projection_l1_ball,
    }
    for kind, theirs in peers.items():
        for shape, axis, scale in cases:
            w = weight(shape, scale)
            mapped = jax.vmap(theirs, 1 - axis, 1 - axis) if len(shape) == 2 else theirs
            peer, array = jax.jit(mapped), jax.numpy.asarray(w)
            calls = on_each_library(kind(1.0, axis), w)
            calls[REFERENCE] = lambda peer=peer, array=array: jax.block_until_ready(peer(array))
            most = {0: (0.03, 0.05, 0.2), 1: (0.15, 0.2, 0.5)}[axis]
            most = most if len(shape) == 2 else (0.1, 0.1, 0.1)
            case = f"`{kind.__name__}`, {_size(shape)}, axis {axis}, scale {scale:g}"
            yield Group(case, "optax, jit", calls, dict(zip(calls, most, strict=False)))


def mask_of_topk(w: torch.Tensor) -> torch.Tensor:
    """Keep the two largest of four as it is written by hand."""
    groups = w.view(-1, 4)
    places = groups.abs().topk(2, dim=1).indices
    mask = torch.zeros_like(groups).scatter_(1, places, 1.0)
    return (groups * mask).view(w.shape)


def patterns(shape: tuple[int, int] = SQUARE) -> Iterator[Group]:
    """Yield two of four beside a mask of ``topk`` on PyTorch."""
    w = weight(shape)
    tensor = torch.from_numpy(w.copy())
    calls = on_each_library(NMSparse(), w)
    calls[REFERENCE] = lambda: mask_of_topk(tensor)
    yield Group(f"`NMSparse` 2:4, {_size(shape)}", "`topk` on PyTorch", calls, {"PyTorch": 0.6})


def rescalings(shape: tuple[int, int] = SQUARE) -> Iterator[Group]:
    """Yield rescalings beside ``MaxNorm`` on the same library: all slices move."""
    for axis in (0, 1):
        w = weight(shape)
        sets = {
            "`Sphere`": Sphere(1.0, axis),
            "`UnitNorm`": UnitNorm(axis),
            "root mean squares": MaxNorm(1 / 64, axis, unit="rms"),
            "order 1": MaxNorm(1.0, axis, order=1),
            "order infinity": MaxNorm(1.0, axis, order=float("inf")),
        }
        reference = on_each_library(MaxNorm(1.0, axis), w)
        ours = {name: on_each_library(c, w) for name, c in sets.items()}
        for library, call in reference.items():
            calls = {name: found[library] for name, found in ours.items()}
            most = dict.fromkeys(calls, 1.3)
            case = f"{library}, {_size(shape)}, axis {axis}"
            yield Group(case, "`MaxNorm`", {**calls, REFERENCE: call}, most)


def measured(group: Group, rounds: int) -> dict[str, Ratio]:
    """Return how long each call took, in units of the reference."""
    seconds = interleave([Contestant(*pair) for pair in group.calls.items()], rounds)
    names = [name for name in group.calls if name != REFERENCE]
    return {name: ratio(seconds, name, REFERENCE) for name in names}


def tables(rounds: int) -> Iterator[str]:
    """Yield the lines of a table for each kind of peer, as they are measured."""
    for kind in (thresholds, patterns, rescalings):
        header = ""
        for group in kind():
            found = measured(group, rounds)
            if not header:
                header = f"| beside {group.reference} | {' | '.join(found)} |"
                yield from (header, "|---" * (len(found) + 1) + "|")
            yield f"| {group.case} | {' | '.join(_cells(group, found))} |"
        yield ""


def _cells(group: Group, found: dict[str, Ratio]) -> Iterator[str]:
    for name, r in found.items():
        shown = f"{r.median:.3f} ({r.lower:.3f}-{r.upper:.3f})"
        most = group.most.get(name)
        if most is not None:
            shown += f", at most {most:g}" if r.median <= most else f" **above {most:g}**"
        yield shown


def memory_table() -> str:
    """Return what each set holds beside the weight and a new result, in weights."""
    rows = memory.of_sets()
    lines = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    for row in rows:
        cells = (f"{v:.2f}" if isinstance(v, float) else f"`{v}`" for v in row.values())
        lines.append(f"| {' | '.join(cells)} |".replace(", ", "`, `"))
    return "\n".join(lines)


def main() -> None:
    """Print the tables, and put them into the page where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sets", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each case")
    parser.add_argument("--write", action="store_true", help="write the documentation")
    options = parser.parse_args()
    lines = []
    for line in tables(options.rounds):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        replace(PAGE, "sets", "\n".join(lines))
        replace(PAGE, "memory of sets", memory_table())


if __name__ == "__main__":
    main()
