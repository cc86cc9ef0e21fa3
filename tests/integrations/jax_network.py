"""A pytree of JAX, rules for it and steps of its training: for the tests beside it."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from libraries import bits

from array_constraints import MaxNorm, NonNeg
from array_constraints.rules import Rule, Rules

RULES = Rules([Rule("*.kernel", MaxNorm(1.0, axis=0)), Rule("*.bias", NonNeg())])


def normal(*shape, seed=0, dtype="float32"):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def network(dtype="float32", seed=0):
    return {
        "first": {
            "kernel": normal(24, 16, seed=seed, dtype=dtype),
            "bias": normal(16, seed=seed + 1, dtype=dtype),
        },
        "second": {"kernel": normal(16, 24, seed=seed + 2, dtype=dtype)},
    }


def same(a, b):
    leaves = jax.tree.leaves(a), jax.tree.leaves(b)
    return [bits(np.asarray(x)) for x in leaves[0]] == [bits(np.asarray(x)) for x in leaves[1]]


def satisfied(project, params):
    return all(float(v) == 0 for v in project.violations(params).values())


def trained(optimizer, params, steps, project=lambda p: p, scale=1.0):
    """Return the parameters after each step, in one compiled scan; gradients look random."""

    def step(carry, i):
        params, state = carry
        gradients = jax.tree.map(
            lambda p: (scale * jnp.sin(99 * p + i)).astype(p.dtype), params
        )
        updates, state = optimizer.update(gradients, state, params)
        params = project(optax.apply_updates(params, updates))
        return (params, state), params

    carry = (params, optimizer.init(params))
    return jax.lax.scan(step, carry, jnp.arange(steps))[1]


def printed_by(*arguments):
    run = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout
