"""Measure a training step of Keras with our constraints beside Keras's own.

``python -m benchmarks.keras_steps [BACKEND ...]`` prints the median step of each, interleaved,
on one thread, each backend in a process of its own; and the quartiles of their ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import Any

BACKENDS = ("torch", "jax")
WIDTHS = (64, 256, 1024)
ROUNDS, STEPS = 40, 5
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def model(constraint: Any, width: int) -> Any:
    """Return three dense layers, each kernel with the constraint."""
    import keras

    keras.utils.set_random_seed(0)
    dense = [keras.layers.Dense(width, kernel_constraint=constraint) for _ in range(3)]
    made = keras.Sequential([keras.Input((width,)), *dense])
    made.compile(keras.optimizers.Adam(0.01), "mse")
    return made


def measure() -> None:
    """Print a line for each constraint and width, on the backend of this process."""
    import keras
    import numpy as np

    import array_constraints as ac
    import array_constraints.integrations.keras

    pairs = {
        "MaxNorm": (ac.MaxNorm(1.0), keras.constraints.MaxNorm(1.0)),
        "NonNeg": (ac.NonNeg(), keras.constraints.NonNeg()),
        "UnitNorm": (ac.UnitNorm(), keras.constraints.UnitNorm()),
    }
    for name, pair in pairs.items():
        for width in WIDTHS:
            x = np.random.default_rng(0).standard_normal((32, width)).astype("float32")
            times = _interleaved([model(c, width) for c in pair], x)
            ours, theirs = map(statistics.median, times)
            low, middle, high = statistics.quantiles(
                [a / b for a, b in zip(*times, strict=True)], n=4
            )
            print(
                f"{keras.backend.backend():6} {name:9} {width:5} {ours * 1e3:9.3f} "
                f"{theirs * 1e3:9.3f}   {middle:5.3f} ({low:.3f}-{high:.3f})",
                flush=True,
            )


def _interleaved(models: list[Any], x: Any) -> list[list[float]]:
    """Return the seconds of a step of each model, of rounds in turn."""
    for each in models:
        for _ in range(3):
            each.train_on_batch(x, x)
    times: list[list[float]] = [[] for _ in models]
    for i in range(ROUNDS):
        order = range(len(models)) if i % 2 else reversed(range(len(models)))
        for j in order:
            start = time.perf_counter()
            for _ in range(STEPS):
                models[j].train_on_batch(x, x)
            times[j].append((time.perf_counter() - start) / STEPS)
    return times


def main(arguments: list[str] | None = None) -> None:
    """Run each backend in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backends", nargs="*", default=BACKENDS)
    backends = parser.parse_args(arguments).backends
    print("backend constraint width  ours ms Keras's ms  ratio (quartiles)", flush=True)
    for backend in backends:
        environment = {**os.environ, **ONE_THREAD, "KERAS_BACKEND": backend}
        code = "from benchmarks.keras_steps import measure; measure()"
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)


if __name__ == "__main__":
    main()
