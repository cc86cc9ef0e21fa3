"""How much constraints add to a step of JAX: ``python -m benchmarks.jax_steps``.

An MLP 64-W-W-10 under Adam, batches of 256, in one compiled step with donated buffers, one
thread; each step in turn with the same step without constraints, with its arrays at ten places
in memory. "violating": all slices of all kernels violate at each step; "satisfied": none does.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics

FLAGS = (
    "--xla_cpu_multi_thread_eigen=false --xla_force_host_platform_device_count=1 "
    "intra_op_parallelism_threads=1"
)
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from array_constraints import MaxNorm  # noqa: E402
from array_constraints.integrations.jax import constrain, projection  # noqa: E402
from benchmarks.interleaved import Contestant, interleave, ratio, steps_in_a_row  # noqa: E402

BOUNDS = {"violating": 1e-3, "satisfied": 1e3}
WIDTHS = (64, 256, 1024)
PLACES = 10  # of arrays in memory


def parameters(width: int) -> dict[str, dict[str, jax.Array]]:
    rng, sizes = np.random.default_rng(0), (64, width, width, 10)
    return {
        f"layer_{i}": {
            "kernel": jnp.asarray(rng.standard_normal((n, m)) / n**0.5, jnp.float32),
            "bias": jnp.zeros(m),
        }
        for i, (n, m) in enumerate(itertools.pairwise(sizes))
    }


def loss(params, x, y):
    for layer in params.values():
        x = jax.nn.relu(x) @ layer["kernel"] + layer["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()


class Training:
    """Steps of one contestant, from the same parameters; small ones in a row."""

    def __init__(self, width: int, how: str, bound: float) -> None:
        rng = np.random.default_rng(1)
        self.params = parameters(width)
        rules = [("*.kernel", MaxNorm(bound, axis=0))]
        optimizer = optax.adam(1e-3)
        if how == "constrain":
            optimizer = optax.chain(optimizer, constrain(self.params, rules))
        project = projection(self.params, rules) if how == "projection" else lambda p: p
        self.state = optimizer.init(self.params)
        self.x = jnp.asarray(rng.standard_normal((256, 64)), jnp.float32)
        self.y = jnp.asarray(rng.integers(10, size=256))

        def step(params, state, x, y):
            gradients = jax.grad(loss)(params, x, y)
            updates, state = optimizer.update(gradients, state, params)
            return project(optax.apply_updates(params, updates)), state

        self.step = jax.jit(step, donate_argnums=(0, 1))
        self.steps = steps_in_a_row(width)

    def __call__(self) -> None:
        for _ in range(self.steps):
            self.params, self.state = self.step(self.params, self.state, self.x, self.y)
            jax.block_until_ready(self.params)

    def move(self, pads: int) -> None:
        """Put the arrays elsewhere: 4 KiB apart or not makes up to a tenth of a step."""
        self.pads = [jnp.array(np.zeros(pads + 64 * i, "float32")) for i in range(8)]
        self.params, self.state = jax.tree.map(jnp.copy, (self.params, self.state))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jax_steps", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="rounds of each case")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    options = parser.parse_args()
    print("| W | slices | plain step | projection | constrain |\n|--:|---|--:|--:|--:|")
    names = ("plain", "again", "projection", "constrain")
    sizes = np.random.default_rng(2).integers(1, 10**5, size=(PLACES, len(names))).tolist()
    for width in options.widths:
        for slices, bound in BOUNDS.items():
            contestants = [Contestant(name, Training(width, name, bound)) for name in names]
            seconds: dict[str, list[float]] = {name: [] for name in names}
            rounds = -(-options.rounds // PLACES)
            for place in range(PLACES):
                for contestant, pads in zip(contestants, sizes[place], strict=True):
                    contestant.call.move(pads)
                for name, found in interleave(contestants, rounds).items():
                    seconds[name] += found
            plain = 1e6 * statistics.median(seconds["plain"]) / steps_in_a_row(width)
            shares = [ratio(seconds, name, "plain") for name in names[1:]]
            again, *added = [f"{100 * (r.median - 1):+.1f} %" for r in shares]
            print(f"| {width} | {slices} | {plain:.0f} us ({again}) | {' | '.join(added)} |")


if __name__ == "__main__":
    main()
