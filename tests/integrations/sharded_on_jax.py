"""Steps of training on four devices: prints what is gathered, or is not right, as JSON.

Run by test_jax_shards.py in a process of its own: JAX is told the number of devices first.
"""

from __future__ import annotations

import itertools
import json
import os
import re

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from array_constraints import MaxNorm
from array_constraints.integrations.jax import constrain, projection

MESH = jax.make_mesh((2, 2), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
SPECS = (P("x", "y"), P(("x", "y"), None), P(None, ("x", "y")))
VALUES = np.random.default_rng(0).standard_normal((64, 32)).astype("float32")


def gathers(compiled):
    """Return how many gathers of more than 64 entries there are."""
    shapes = re.findall(r"= \w+\[([\d,]*)\]\S* all-gather", compiled.as_text())
    return sum(np.prod([int(n) for n in shape.split(",") if n]) > 64 for shape in shapes)


def judge(spec, axis):
    """Yield what is not right."""
    place, constraint = NamedSharding(MESH, spec), MaxNorm(1.0, axis=axis)
    params = {"w": jax.device_put(VALUES, place)}
    project = projection(params, constraint)
    optimizer = optax.chain(optax.sgd(0.1), constrain(params, constraint))
    state = optimizer.init(params)

    def step(params):
        updates, _ = optimizer.update(jax.tree.map(jnp.sin, params), state, params)
        return project(optax.apply_updates(params, updates))

    alone = gathers(jax.jit(constraint).lower(params["w"]).compile())
    compiled = jax.jit(step, donate_argnums=0).lower(params).compile()
    if gathers(compiled) > 3 * alone:
        yield f"{gathers(compiled)} gathers in a step, {alone} in the constraint"
    expected = constraint(VALUES - np.float32(0.1) * np.sin(VALUES))
    found = compiled(params)["w"]
    if not params["w"].is_deleted():
        yield "the buffer is not written into"
    if not found.sharding.is_equivalent_to(place, 2):
        yield f"lies as {found.sharding}"
    if not np.allclose(found, expected, rtol=1e-5, atol=1e-6):
        yield "another result than on one device"
    if np.any(constraint.violation(np.asarray(found)) > 1e-7):
        yield "violated"
    if axis is not None and alone:
        yield f"{alone} gathers in the constraint"


def main():
    found = {"cases": 0}
    for spec, axis in itertools.product(SPECS, (0, 1, None)):
        found["cases"] += 1
        wrong = list(judge(spec, axis))
        if wrong:
            found[f"{spec} {axis}"] = wrong
    print(json.dumps(found))


if __name__ == "__main__":
    main()
