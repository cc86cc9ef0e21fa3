"""Measure the simplex and the L1 ball beside optax under ``jit``: time, and errors of the sums.

``python -m benchmarks.thresholds`` prints ratios of one run, interleaved, with one thread for
every library. Each contestant has its own arrays; sums are added up exactly.
"""

from __future__ import annotations

import argparse
import math
import os
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["XLA_FLAGS"] = (
    "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1 "
    + os.environ.get("XLA_FLAGS", "")
)

import numpy as np  # noqa: E402

from array_constraints.sets.thresholds import L1Ball, Simplex  # noqa: E402
from benchmarks.interleaved import Contestant, interleave, ratio  # noqa: E402

CASES = [
    ((30522, 384), 0, 0.02),
    ((30522, 384), 0, 1.0),
    ((30522, 384), 1, 0.02),
    ((30522, 384), 1, 1.0),
    ((1000, 1000), 1, 1.0),
    ((10000, 100), 1, 1.0),
    ((1000000,), 0, 1.0),
]


def contestants(shape: tuple[int, ...], axis: int, scale: float, ball: bool) -> dict[str, Any]:
    """Return the calls of one case, by name."""
    import jax
    import optax
    import torch

    torch.set_num_threads(1)
    w = (np.random.default_rng(0).standard_normal(shape) * scale).astype(np.float32)
    ours = (L1Ball if ball else Simplex)(1.0, axis)
    theirs = optax.projections.projection_l1_ball if ball else None
    theirs = theirs or optax.projections.projection_simplex
    if len(shape) == 2:
        theirs = jax.vmap(theirs, in_axes=1 - axis, out_axes=1 - axis)
    compiled, peer = jax.jit(ours), jax.jit(theirs)
    tensor, array = torch.from_numpy(w.copy()), jax.numpy.asarray(w)
    return {
        "optax": lambda: jax.block_until_ready(peer(array)),
        "NumPy": lambda: ours(w),
        "torch": lambda: ours(tensor),
        "JAX": lambda: jax.block_until_ready(compiled(array)),
    }


def roundoffs(found: Any, axis: int) -> float:
    """Return by how many roundoffs the sum of a slice is off at most."""
    values = np.abs(np.asarray(found).astype(np.float64))
    rows = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    return max(abs(math.fsum(row) - 1) for row in rows[:500]) * 2.0**24


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for ball in (False, True):
        for shape, axis, scale in CASES:
            calls = contestants(shape, axis, scale, ball)
            seconds = interleave([Contestant(*pair) for pair in calls.items()], rounds)
            found = [
                f"{name} {ratio(seconds, name, 'optax').median:.3f} "
                f"({min(seconds[name]) * 1e3:.0f} ms, {roundoffs(call(), axis):.2f} u)"
                for name, call in calls.items()
            ]
            kind = "L1 ball" if ball else "simplex"
            print(
                f"{kind}, {shape}, axis {axis}, scale {scale}: " + "; ".join(found), flush=True
            )


if __name__ == "__main__":
    main()
