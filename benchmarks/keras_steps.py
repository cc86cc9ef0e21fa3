"""Measure a training step of Keras with our constraints beside Keras's own.

``python -m benchmarks.keras_steps [BACKEND ...]``: an MLP 64-W-W-10 under Adam, batches of 256,
one thread, all interleaved, each backend in a process of its own. It prints the median step
with Keras's constraint, and how long one with ours takes beside it: median and quartiles.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.interleaved import Contestant, interleave, ratio, steps_in_a_row

BACKENDS = ("torch", "jax")
WIDTHS = (64, 256, 1024)
ROUNDS, PLACES = 60, 3  # places in memory: each has its own models
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def steps(constraint: Any, width: int) -> Callable[[], None]:
    """Return training steps, small ones in a row, whose kernels have the constraint."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((64,))])
    for size, activation in ((width, "relu"), (width, "relu"), (10, None)):
        made.add(keras.layers.Dense(size, activation, kernel_constraint=constraint))
    made.compile(keras.optimizers.Adam(), "mse")
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((256, n)).astype("float32") for n in (64, 10))

    def call() -> None:
        for _ in range(steps_in_a_row(width)):
            made.train_on_batch(x, y)

    return call


def measure() -> None:
    """Print a line for each constraint and width, on the backend of this process."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import keras

    import array_constraints as ac
    import array_constraints.integrations.keras

    own = keras.constraints
    pairs = {
        "MaxNorm": (ac.MaxNorm(1.0), own.MaxNorm(1.0)),
        "NonNeg": (ac.NonNeg(), own.NonNeg()),
        "UnitNorm": (ac.UnitNorm(), own.UnitNorm()),
    }
    for name, (ours, theirs) in pairs.items():
        for width in WIDTHS:
            seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
            for _ in range(PLACES):
                contestants = [
                    Contestant("ours", steps(ours, width)),
                    Contestant("theirs", steps(theirs, width)),
                ]
                for who, found in interleave(contestants, ROUNDS // PLACES).items():
                    seconds[who] += found
            share = ratio(seconds, "ours", "theirs")
            print(
                f"{keras.backend.backend():6} {name:9} {width:5} "
                f"{1e3 * statistics.median(seconds['theirs']) / steps_in_a_row(width):9.3f}   "
                f"{share.median:5.3f} ({share.lower:.3f}-{share.upper:.3f})",
                flush=True,
            )


def main(arguments: list[str] | None = None) -> None:
    """Run each backend in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backends", nargs="*", default=BACKENDS)
    backends = parser.parse_args(arguments).backends
    print("backend constraint width Keras's ms  ratio (quartiles)", flush=True)
    for backend in backends:
        environment = {**os.environ, **ONE_THREAD, "KERAS_BACKEND": backend}
        code = "from benchmarks.keras_steps import measure; measure()"
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)


if __name__ == "__main__":
    main()
