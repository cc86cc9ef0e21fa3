"""Weights of PyTorch in shards, one on each of four processes. Prints what is not right.

The argument names what is tried. Run by test_placement.py in processes of its own.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from array_constraints import (
    Constraint,
    L1Ball,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    RadialConstraint,
    Simplex,
    UnitNorm,
    apply,
)

RANKS = 4
WAIT = datetime.timedelta(seconds=60)
TOLERANCE = {
    torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7, torch.float32: 2.0**-20,
    torch.float64: 2.0**-49,
}  # fmt: skip


def judge(constraint, d, pending=False):
    """Raise unless results on a DTensor are those on the whole tensor, and lie as it lies."""
    w = d.full_tensor()
    result, expected = constraint(d), constraint(w)
    assert type(result) is type(d), type(result)
    assert result.dtype == d.dtype, result.dtype
    assert result.placements == settled(d), result.placements
    assert pending or result.to_local().shape == d.to_local().shape
    tolerance = TOLERANCE[d.dtype]
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(result.full_tensor(), expected, **close)
    found, violation = constraint.violation(d), constraint.violation(w)
    torch.testing.assert_close(found.full_tensor(), violation, **close)
    assert pending or found.placements == whole_slices(d, violation.shape), found.placements
    kept = ((violation == 0) & (expected == w)).expand(w.shape)
    assert torch.equal(result.full_tensor()[kept], w[kept]), "a satisfied slice moved"


def settled(d):
    """Return how ``d`` lies, but with what is pending on every rank."""
    from torch.distributed.tensor import Replicate

    return tuple(Replicate() if p.is_partial() else p for p in d.placements)


def whole_slices(d, shape):
    """Return how ``d`` lies, but with each dimension that is 1 in ``shape`` on every rank."""
    from torch.distributed.tensor import Replicate

    return tuple(
        Replicate() if p.is_shard() and shape[p.dim] != d.shape[p.dim] else p
        for p in d.placements
    )


def written(constraint, d):
    expected = constraint(d).full_tensor()
    with torch.no_grad():
        result = constraint(d, copy=False)
    assert result is d
    assert torch.equal(d.full_tensor(), expected)
    assert torch.equal(apply(constraint, [d])[0].full_tensor(), constraint(d).full_tensor())


def differentiated(constraint, d):
    w = d.full_tensor().requires_grad_()
    (constraint(w) ** 2).sum().backward()
    d = d.detach().requires_grad_()
    (constraint(d) ** 2).sum().full_tensor().backward()
    tolerance = 8 * TOLERANCE[d.dtype]
    torch.testing.assert_close(d.grad.full_tensor(), w.grad, rtol=tolerance, atol=tolerance)


def copied(constraint, d):
    """Raise unless results lie as ``d`` lies, however they are copied."""
    w = d.full_tensor()
    for copy in (None, True, False):
        x = d.clone()
        result = constraint(x, copy=copy)
        assert (result is x) == (copy is False), copy
        assert result.placements == d.placements, (copy, result.placements)
        torch.testing.assert_close(result.full_tensor(), constraint(w), rtol=1e-12, atol=1e-12)


def refused(constraint, d, error):
    """Raise unless each rank raises: nobody waits for the others."""
    for call in (constraint, constraint.violation):
        try:
            call(d)
        except error:
            continue
        raise AssertionError("nothing was raised")


def outside(constraint, d):
    """Raise if a process outside of the mesh, which holds nothing, cannot call as others do."""
    assert constraint(d).placements == d.placements
    constraint.violation(d)
    constraint(d.clone(), copy=False)


def normal(*shape, dtype=torch.float64):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w[..., 0] /= 99
    return w.to(dtype)


def constraints(axis, slices):
    yield MaxNorm(1.0, axis)
    yield MaxNorm(tuple(0.1 + i / 4 for i in range(slices)), axis)
    yield MinMaxNorm(0.5, 2.0, 0.3, axis)
    yield UnitNorm(axis)


def meshes():
    from torch.distributed.device_mesh import init_device_mesh

    line = init_device_mesh("cpu", (RANKS,))
    return line, init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))


def on_a_line():
    from torch.distributed.tensor import Replicate, Shard

    line, _ = meshes()
    yield from matrices(line, [[Shard(0)], [Shard(1)], [Replicate()]])


def on_a_grid():
    from torch.distributed.tensor import Replicate, Shard

    _, grid = meshes()
    layouts = [[Shard(0), Shard(1)], [Shard(0), Shard(0)], [Shard(1), Replicate()]]
    yield from matrices(grid, layouts)


def matrices(mesh, layouts):
    from torch.distributed.tensor import distribute_tensor

    for placements in layouts:
        for dtype in TOLERANCE:
            # 7 rows are uneven shards; 5 rows on 4 ranks are 2, 2, 1 and none
            for shape in ((7, 4), (5, 3)) if dtype == torch.float64 else ((5, 3),):
                d = distribute_tensor(normal(*shape, dtype=dtype), mesh, placements)
                for axis in (0, 1, None) if shape == (5, 3) else (0,):
                    slices = {0: shape[1], 1: shape[0]}.get(axis, 1)
                    many = list(constraints(axis, slices))
                    for c in many if dtype == torch.float64 else many[1:2]:
                        yield f"{c} {dtype} {shape} {placements}", judge, c, d
            yield f"NonNeg {dtype} {placements}", judge, NonNeg(), d
        d = distribute_tensor(normal(5, 3), mesh, placements)
        yield f"written {placements}", written, MaxNorm(1.0), d.clone()
        for c in (
            MaxNorm(1.0),
            MaxNorm((0.1, 1.0, 2.0)),
            UnitNorm(None),
            MinMaxNorm(0.5, 1, 0.3),
        ):
            yield f"gradients of {c} {placements}", differentiated, c, d
        yield f"Constraint {placements}", judge, Constraint(), d


def kernels():
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    line, grid = meshes()
    c, w = RadialConstraint(), normal(3, 3, 4, 5)
    for placements in ([Shard(0), Shard(1)], [Shard(0), Shard(0)], [Shard(1), Replicate()]):
        yield f"{c} {placements}", judge, c, distribute_tensor(w, grid, placements)
    for dim in range(4):
        for dtype in (torch.bfloat16, torch.float64):
            d = distribute_tensor(normal(3, 3, 2, 5, dtype=dtype), line, [Shard(dim)])
            for c in (RadialConstraint(), MaxNorm(1.0, (0, 1, 2)), UnitNorm((3, 1))):
                yield f"{c} {dtype} {dim}", judge, c, d
    for placements in itertools.product([Shard(0), Shard(2), Replicate()], repeat=2):
        d = distribute_tensor(normal(5, 2, 3), grid, placements)
        for c in (MaxNorm(1.0, 2), MinMaxNorm(0.5, 1.0, axis=(0, 2)), UnitNorm(None)):
            yield f"{c} {placements}", judge, c, d


def copies():
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    _, grid = meshes()
    for placements in itertools.product([Shard(0), Shard(1), Replicate()], repeat=2):
        d = distribute_tensor(normal(7, 5), grid, placements)
        for c in (MaxNorm(1.0, 0), MaxNorm(1.0, 1), UnitNorm(None), NonNeg()):
            yield f"{c} {placements}", copied, c, d


def others():
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor

    line, grid = meshes()
    rank = dist.get_rank()
    huge = normal(8, 3) * torch.tensor([1e300, 1e-300, 1.0])
    yield "huge", judge, UnitNorm(), distribute_tensor(huge, line, [Shard(0)])
    d = DTensor.from_local(normal(5, 3) * (rank + 1), line, [Partial()])
    for c in (MaxNorm(1.0), NonNeg(), UnitNorm(None), MaxNorm((1.0, 2.0, 3.0))):
        yield f"{c} of pending sums", judge, c, d, True
    d = distribute_tensor(normal(0, 3), line, [Shard(0)])
    for c in (MaxNorm(1.0), NonNeg()):
        yield f"{c} without entries", judge, c, d
    d = DTensor.from_local(normal(5, 2), grid, [Partial(), Shard(1)])
    for c in (MaxNorm(1.0), UnitNorm(None), NonNeg()):
        yield f"{c} of pending sums of shards", judge, c, d, True
    d = distribute_tensor(normal(5, 3), line, [Shard(0)])
    for c in (MaxNorm(1.0, 2), MaxNorm((1.0, 2.0)), RadialConstraint()):
        yield f"{c} does not fit", refused, c, d, ValueError
    d = distribute_tensor(torch.ones((5, 3), dtype=torch.int64), line, [Shard(0)])
    yield "integers", refused, MaxNorm(1.0), d, TypeError
    half = DeviceMesh("cpu", [0, 1])
    for dtype in (torch.bfloat16, torch.float64):
        d = distribute_tensor(normal(5, 3, dtype=dtype), half, [Shard(0)])
        for c in (MaxNorm(1.0), MaxNorm((0.1, 1.0, 2.0)), MaxNorm(1.0, 1), UnitNorm(None)):
            yield f"{c} of some processes {dtype}", judge if rank < 2 else outside, c, d


def thresholds():
    from torch.distributed.tensor import Shard, distribute_tensor

    line, grid = meshes()
    for c in (Simplex(1.0, 0), L1Ball(0.5, 1), Simplex(2.0, None)):
        for dim in (0, 1):
            d = distribute_tensor(normal(7, 5, dtype=torch.float32), line, [Shard(dim)])
            yield f"{c} {dim}", judge, c, d
        yield f"{c} on a grid", judge, c, distribute_tensor(normal(5, 4), grid, [Shard(0)] * 2)
    yield (
        "gradients",
        differentiated,
        L1Ball(1.0),
        distribute_tensor(normal(5, 3), line, [Shard(0)]),
    )


PARTS = (on_a_line, on_a_grid, kernels, copies, others, thresholds)
SECTIONS = {function.__name__: function for function in PARTS}


def work(rank, store, folder, section):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS, timeout=WAIT
    )
    found, count = [], 0
    for name, check, *arguments in SECTIONS[section]():
        count += 1
        try:
            check(*arguments)
        except Exception:
            found.append(f"rank {rank}, {name}: {traceback.format_exc(limit=-3)}")
    found = found if count else ["nothing was tried"]
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        arguments = str(Path(folder, "store")), folder, sys.argv[1]
        mp.start_processes(work, arguments, RANKS, start_method="fork")  # PyTorch is there
        found = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    json.dump(found, sys.stdout)
