"""Record the bits of results, to compare two states of the library on one machine.

``python tests/measure_bits.py record FILE`` writes a digest of each case,
``python tests/measure_bits.py compare FILE`` says which cases differ now. The bits
depend on the processor and on the versions of the libraries: they are no test.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from array_constraints import MaxNorm, MinMaxNorm, NonNeg, RadialConstraint, UnitNorm, apply

DTYPES = {"float16": "f2", "bfloat16": ml_dtypes.bfloat16, "float32": "f4", "float64": "f8"}
SHAPES = [(8, 8), (64, 64), (5, 300), (784, 256), (3, 3, 64, 128), (1500, 1500), (3000, 900)]
CONSTRAINTS = {
    "MaxNorm 1": lambda axis, n: MaxNorm(1.0, axis),
    "MaxNorm far": lambda axis, n: MaxNorm(1e-30, axis),
    "MaxNorm radii": lambda axis, n: MaxNorm(tuple(0.5 + i % 7 for i in range(n)), axis),
    "MinMaxNorm": lambda axis, n: MinMaxNorm(0.5, 1.5, 1.0, axis),
    "MinMaxNorm rate": lambda axis, n: MinMaxNorm(0.5, 1.5, 0.3, axis),
    "UnitNorm": lambda axis, n: UnitNorm(axis),
    "NonNeg": lambda axis, n: NonNeg(),
}
DATA = ("normal", "feasible", "mixed", "odd", "huge", "tiny")


class Case(NamedTuple):
    library: str
    dtype: str
    shape: tuple[int, ...]
    order: str
    axis: Any
    data: str
    constraint: str

    def __str__(self) -> str:
        return "|".join(map(str, self))


def cases(libraries: list[str]) -> Iterator[Case]:
    for library, dtype, shape in itertools.product(libraries, DTYPES, SHAPES):
        if library == "jax" and shape not in ((8, 8), (784, 256)):
            continue
        axes = [0, len(shape) - 1, None] + ([(0, 1, 2)] if len(shape) == 4 else [])
        for axis, name in itertools.product(axes, CONSTRAINTS):
            data = DATA if np.prod(shape) < 2**20 else ("normal", "mixed")
            orders = ("C", "F") if library != "jax" else ("C",)
            for kind, order in itertools.product(data, orders):
                if kind in ("huge", "tiny") and name not in ("MaxNorm 1", "UnitNorm"):
                    continue
                yield Case(library, dtype, shape, order, axis, kind, name)


def weights(case: Case) -> np.ndarray:
    seed = int(hashlib.sha256(repr((case.shape, case.data)).encode()).hexdigest()[:8], 16)
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(case.shape)
    if case.data == "feasible":
        w *= 1e-4
    if case.data in ("mixed", "odd"):
        w *= 10.0 ** rng.integers(-4, 2, case.shape[-1])
    if case.data == "odd":
        w.flat[:: max(1, w.size // 11)] = np.resize([np.nan, np.inf, -np.inf, 0, -0.0], 12)[
            : len(w.flat[:: max(1, w.size // 11)])
        ]
    scale = {"float16": 15, "bfloat16": 120, "float32": 120, "float64": 1000}[case.dtype]
    if case.data == "huge":
        w *= 2.0 ** (scale - 4)
    if case.data == "tiny":
        w *= 2.0**-scale
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(w, dtype=DTYPES[case.dtype], order=case.order)


def arrays(case: Case) -> Any:
    w = weights(case)
    if case.library == "torch":
        import torch

        order = sorted(range(w.ndim), key=lambda i: -w.strides[i])
        back = [order.index(i) for i in range(w.ndim)]
        raw = np.ascontiguousarray(w.transpose(order))
        if case.dtype == "bfloat16":
            return torch.from_numpy(raw.view("i2").copy()).view(torch.bfloat16).permute(back)
        return torch.from_numpy(raw.copy()).permute(back)
    if case.library == "jax":
        import jax.numpy as jnp

        return jnp.asarray(w)
    return w


def as_numpy(w: Any) -> np.ndarray:
    if type(w).__module__.startswith("torch"):
        import torch

        w = w.detach()
        return (
            w.contiguous().view(torch.int16).numpy() if w.dtype == torch.bfloat16 else w.numpy()
        )
    w = np.asarray(w)
    return w.view("i2") if w.dtype == ml_dtypes.bfloat16 else w


def digest(w: Any) -> str:
    a = np.ascontiguousarray(as_numpy(w))
    return hashlib.sha256(a.view("u1" if a.ndim else a.dtype).tobytes()).hexdigest()[:16]


def found(case: Case) -> list[Any]:
    w = arrays(case)
    axes = range(w.ndim) if case.axis is None else np.atleast_1d(case.axis)
    n = int(np.prod([n for i, n in enumerate(w.shape) if i not in axes]))
    constraint = CONSTRAINTS[case.constraint](case.axis, n)
    result = constraint(w)
    again = constraint(w)  # as what was seen before
    out = [digest(result), result is w, digest(again) == digest(result)]
    out.append(digest(constraint.violation(w)))
    if case.library != "jax":
        place = arrays(case)
        constraint(place, copy=False)
        out.append(digest(place) == out[0])
    return out


def more() -> Iterator[tuple[str, list[Any]]]:
    rng = np.random.default_rng(5)
    for k in (3, 5):
        w = rng.standard_normal((k, k, 4, 6)).astype("f4")
        yield f"RadialConstraint {k}", [digest(RadialConstraint()(w))]
    for shape, dtype in itertools.product([(8, 8), (64, 64), (100, 30)], ("f2", "f4", "f8")):
        many = [rng.standard_normal(shape).astype(dtype) * (i % 3) / 4 for i in range(60)]
        for name, axis in itertools.product(("MaxNorm 1", "MinMaxNorm", "UnitNorm"), (0, 1)):
            constraint = CONSTRAINTS[name](axis, 0)
            yield (
                f"many {shape} {dtype} {name} {axis}",
                [
                    *(digest(w) for w in apply(constraint, many)),
                    *(digest(constraint(w)) for w in many),
                ],
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--libraries", nargs="*", default=["numpy", "torch", "jax"])
    options = parser.parse_args()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if "jax" in options.libraries:
        import jax

        jax.config.update("jax_enable_x64", True)
    now = {str(case): found(case) for case in cases(options.libraries)}
    now |= dict(more())
    if options.what == "record":
        options.file.write_text(json.dumps(now))
        print(len(now), "cases")
        return
    before = json.loads(options.file.read_text())
    differ = [key for key in now if before.get(key) != now[key]]
    for key in differ:
        print(key, [a == b for a, b in zip(before.get(key, []), now[key], strict=False)])
    print(f"{len(differ)} of {len(now)} differ")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
