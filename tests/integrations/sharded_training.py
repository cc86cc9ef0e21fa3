"""Train on several processes of PyTorch under constraints. Prints what is not right.

Run by test_sharded_training.py in processes of its own: ``sharded_training.py RANKS CASE...``.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from array_constraints import MaxNorm, NonNeg, UnitNorm
from array_constraints.integrations.torch import constrain
from array_constraints.rules import Rule, Rules

WAIT = datetime.timedelta(seconds=60)
RULES = Rules(
    [
        Rule("2.weight", UnitNorm("incoming")),
        Rule("*", MaxNorm(0.4, "incoming"), kind="dense"),
        Rule("*.bias", NonNeg()),
    ]
)


def network(dtype=torch.float32):
    """Return a network whose second layer has fewer rows than four processes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)


def batch(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8, 6, generator=generator, dtype=torch.float64).to(dtype)
    return x, torch.arange(8) % 3


def train(model, optimizer, x, y, steps=3):
    held = constrain(model, RULES, optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return held


def alone(dtype=torch.float32):
    """Return what one process makes of the network."""
    model = network(dtype)
    train(model, torch.optim.SGD(model.parameters(), lr=0.5), *batch(dtype))
    return model.state_dict()


def compare(state, expected, held):
    for name, weight in state.items():
        whole = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
        torch.testing.assert_close(whole, expected[name], rtol=1e-4, atol=1e-5)
    for name, violation in held.violations().items():
        assert violation == 0, name


def ddp(ranks, rank):
    model = nn.parallel.DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    x, y = (part.chunk(ranks)[rank] for part in batch())
    held = train(model, optimizer, x, y)
    assert next(iter(held.violations())) == "0.weight"
    compare(model.module.state_dict(), alone(), held)


def fsdp2(ranks, rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (ranks,))
    for dtype in (torch.float32, torch.float64):
        model = network(dtype)
        for layer in (model[0], model[2]):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        x, y = (part.chunk(ranks)[rank] for part in batch(dtype))
        placements = [p.placements for p in model.parameters()]
        held = train(model, optimizer, x, y)
        assert [p.placements for p in model.parameters()] == placements
        compare(model.state_dict(), alone(dtype), held)


def tensor_parallel(ranks, rank):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    torch.manual_seed(0)
    widths = nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)
    model, mesh = nn.Sequential(*widths), init_device_mesh("cpu", (ranks,))
    reference = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    reference.load_state_dict(model.state_dict())
    train(reference, torch.optim.SGD(reference.parameters(), lr=0.5), *batch())
    parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    held = train(model, torch.optim.SGD(model.parameters(), lr=0.5), *batch())
    compare(model.state_dict(), reference.state_dict(), held)


def local_shards(ranks, rank):
    """The norm of a part of a slice is not that of the slice: it is refused."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (ranks,))
    w = nn.Parameter(distribute_tensor(torch.ones(4, 4), mesh, [Shard(1)]))
    optimizer = torch.optim.SGD([w], lr=0.1)
    with torch.no_grad():
        local = w.to_local()
    with pytest.raises(ValueError, match="'w' is the local shard of a DTensor"):
        constrain({"w": local}, UnitNorm(axis=1), optimizer)
    wrong = UnitNorm(axis=1)(local).norm() * ranks**0.5  # each part of norm 1, not the whole
    assert wrong > 1.4, wrong


def misfits(ranks, rank):
    """All processes raise the same error, or none."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with pytest.raises(ValueError, match=r"'2.weight': MaxNorm: axis 2 does not fit"):
        constrain(model, [("2.weight", MaxNorm(1.0, axis=2))], optimizer)


CASES = {f.__name__: f for f in (ddp, fsdp2, tensor_parallel, local_shards, misfits)}


def run(rank, ranks, names, folder):
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", store, timeout=WAIT, rank=rank, world_size=ranks)
    torch.set_num_threads(1)
    problems = []
    for name in names:
        try:
            CASES[name](ranks, rank)
        except Exception:
            problems.append(f"{name}, rank {rank}: {traceback.format_exc(limit=-3)}")
    Path(folder, f"{rank}.json").write_text(json.dumps(problems))
    dist.barrier()
    dist.destroy_process_group()


def main():
    ranks, names = int(sys.argv[1]), sys.argv[2:]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(run, (ranks, names, folder), ranks, start_method="fork")
        found = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
