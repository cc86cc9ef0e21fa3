"""Time constraints on a GPU beside their peers: ``python -m benchmarks.gpu torch``.

One library per run. Ten calls are made in a row before the GPU is waited for: the time of one
is a tenth of that. ``benchmarks.torch_steps --device cuda`` measures steps of a training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from rich.live import Live
from rich.table import Table

from array_constraints import apply
from benchmarks.cases import CONV, LARGE, Case
from benchmarks.contestants import bare, constraints
from benchmarks.interleaved import Contestant, interleave, ratio

IN_A_ROW = 10
CASES = [
    *(Case(*both) for both in (((64, 64), 0), CONV, *LARGE)),
    Case((4096, 4096), 0, "bfloat16"),
    Case((4096, 4096), 0, data="feasible"),
    Case((4096, 4096), 0, constraint="UnitNorm"),
    Case((4096, 4096), 0, constraint="NonNeg"),
]
Calls = dict[str, Callable[[], Any]]


def torch_calls(case: Case, device: str) -> Calls:
    import torch

    torch.compiler.reset()  # each case is compiled for its own shape
    values = case.weight()
    bound = case.bound(values)
    weight = torch.from_numpy(values.astype("float32")).to(device, getattr(torch, case.dtype))
    ours, theirs = constraints(case, bound)
    expression = bare(case, bound, torch)
    target, scratch = torch.empty_like(weight), weight.clone()
    kept = [i for i in range(weight.ndim) if i not in case.axes]
    calls: Calls = {
        "ours": lambda: ours(weight),
        "ours, in place": lambda: ours(scratch, copy=False),
        "ours, compiled": _with(torch.compile(lambda w: ours(w)), weight),
        "Keras": lambda: theirs(weight),
        "bare": lambda: expression(weight),
        "copy": lambda: target.copy_(weight),
    }
    if case.constraint == "MaxNorm":
        calls["torch.renorm"] = lambda: torch.renorm(weight, 2, kept[0], bound)
    return calls


def torch_many(device: str) -> Calls:
    import torch

    case = Case((64, 64), 0)
    ours, _ = constraints(case, 8.0)
    tree = {str(i): torch.randn(64, 64, device=device) for i in range(100)}
    weights = list(tree.values())
    return {
        "ours": lambda: apply(ours, tree),
        "torch.renorm": lambda: [torch.renorm(w, 2, 1, 8.0) for w in weights],
    }


def jax_calls(case: Case, device: str) -> Calls:
    import jax
    import jax.numpy as jnp
    import optax

    values = case.weight()
    bound = case.bound(values)
    weight = jax.device_put(jnp.asarray(values), jax.devices(device)[0])
    ours, theirs = constraints(case, bound)
    target = jax.jit(lambda w: w + 1)
    calls: Calls = {
        "ours": lambda: ours(weight),
        "ours, compiled": _with(jax.jit(lambda w: ours(w)), weight),
        "Keras, compiled": _with(jax.jit(lambda w: theirs(w)), weight),
        "bare, compiled": _with(jax.jit(bare(case, bound, jnp)), weight),
        "copy": _with(target, weight),
    }
    if case.constraint == "MaxNorm" and len(case.shape) == 2:
        kept, ball = 1 - case.axes[0], optax.projections.projection_l2_ball
        project = jax.vmap(lambda w: ball(w, bound), kept, kept)
        calls["optax, compiled"] = _with(jax.jit(project), weight)
    return calls


def jax_many(device: str) -> Calls:
    import jax

    case = Case((64, 64), 0)
    ours, theirs = constraints(case, 8.0)
    keys = jax.random.split(jax.random.key(0), 100)
    tree = {str(i): jax.random.normal(key, (64, 64)) for i, key in enumerate(keys)}
    keras = jax.jit(lambda tree: jax.tree.map(lambda w: theirs(w), tree))
    return {
        "ours": lambda: apply(ours, tree),
        "ours, compiled": _with(jax.jit(lambda tree: apply(ours, tree)), tree),
        "Keras, compiled": _with(keras, tree),
    }


def cupy_calls(case: Case, device: str) -> Calls:
    import cupy

    values = case.weight()
    bound = case.bound(values)
    weight = cupy.asarray(values)
    ours, _ = constraints(case, bound)
    expression = bare(case, bound, cupy)
    target, scratch = cupy.empty_like(weight), weight.copy()
    return {
        "ours": lambda: ours(weight),
        "ours, in place": lambda: ours(scratch, copy=False),
        "bare": lambda: expression(weight),
        "copy": lambda: cupy.copyto(target, weight),
    }


def cupy_many(device: str) -> Calls:
    import cupy

    ours, _ = constraints(Case((64, 64), 0), 8.0)
    tree = {str(i): cupy.random.standard_normal((64, 64), dtype="f4") for i in range(100)}
    return {"ours": lambda: apply(ours, tree)}


def _with(function: Callable[[Any], Any], argument: Any) -> Callable[[], Any]:
    return lambda: function(argument)


def waiting(library: str, device: str) -> Callable[[Any], Any]:
    """Return what waits until the GPU has computed a result."""
    if library == "jax":
        import jax

        return jax.block_until_ready
    if device == "cpu":
        return lambda result: result
    if library == "torch":
        import torch

        return lambda result: torch.cuda.synchronize()
    import cupy

    return lambda result: cupy.cuda.Device().synchronize()


def rows(library: str, device: str, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield the time of one call for each case and contestant, and its ratio to ours."""
    calls_of, many = WAYS[library]
    wait = waiting(library, device)
    named = [(str(c), lambda c=c: calls_of(c, device)) for c in CASES if _fits(library, c)]
    for case, make in [*named, ("100 tensors of 64x64", lambda: many(device))]:
        calls = make()
        entrants = [Contestant(name, _repeated(call, wait)) for name, call in calls.items()]
        for entrant in entrants:  # compiled
            entrant.call()
        seconds = interleave(entrants, rounds)
        for name in calls:
            r = ratio(seconds, name, "ours")
            yield {
                "library": library, "case": case, "contestant": name,
                "us": 1e6 * median(seconds[name]) / IN_A_ROW,
                "of ours": [r.median, r.lower, r.upper],
            }  # fmt: skip


def _fits(library: str, case: Case) -> bool:
    return library == "torch" or case.dtype == "float32"


def _repeated(call: Callable[[], Any], wait: Callable[[Any], Any]) -> Callable[[], Any]:
    def several() -> None:
        for _ in range(IN_A_ROW):
            result = call()
        wait(result)

    return several


WAYS = {
    "torch": (torch_calls, torch_many),
    "jax": (jax_calls, jax_many),
    "cupy": (cupy_calls, cupy_many),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("library", choices=WAYS)
    parser.add_argument("--device", default="cuda", help="as the library calls it")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write all that was measured")
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    table = Table("weight", "call", "us", "of ours", title=options.library)
    with Live(table):
        for row in rows(options.library, options.device, options.rounds):
            share = "{:.2f} ({:.2f}-{:.2f})".format(*row["of ours"])
            table.add_row(row["case"], row["contestant"], f"{row['us']:,.1f}", share)
            found.append(row)
            if options.json:
                options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
