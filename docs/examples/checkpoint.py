"""Constrain a sharded checkpoint that is larger than the memory allowed, and verify the result.

The checkpoint is made up: layers of random weights in shards of ``.safetensors`` with their
index, as large models are saved. Then, each in a process of its own that may take no more than
``--memory`` MiB for its data (``RLIMIT_DATA``),

1. ``array-constraints check`` finds that rows of the weights are too long: it exits with 1;
2. ``array-constraints project`` writes a copy in which they are not;
3. ``array-constraints check`` finds nothing in the copy: it exits with 0;

and at last this script reads the copy with the library of the format, tensor by tensor, and
computes the norms by itself; what was not selected is compared byte for byte. It fails where
something is not as it should be. Needs twice the size of the checkpoint on the disk::

    python docs/examples/checkpoint.py [--gibibytes 4] [--memory 600] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rich
from numpy.typing import NDArray
from rich.filesize import decimal
from rich.progress import track
from safetensors import safe_open
from safetensors.numpy import save_file

Arrays = dict[str, NDArray[Any]]

WIDTH = 4096  # entries of a row: the incoming weights of one output
LAYERS_OF_SHARD = 4
RADIUS = 64.0  # the norm of a row of 4096 normal numbers is 64 on average
INDEX = "model.safetensors.index.json"
OPTIONS = [
    *("--constraint", "max_norm", "--max-value", str(RADIUS), "--axis", "1"),
    *("--select", "layers.*.weight"),
]


def shards(gibibytes: float) -> Iterator[Arrays]:
    """Return the tensors of each shard."""
    rng = np.random.default_rng(0)
    bytes_of_layer = min(2**26, math.ceil(gibibytes * 2**30 / 8))
    rows = max(1, bytes_of_layer // (4 * WIDTH))
    layers = math.ceil(gibibytes * 2**30 / (4 * WIDTH * rows))
    for first in range(0, layers, LAYERS_OF_SHARD):
        tensors: Arrays = {}
        for i in range(first, min(first + LAYERS_OF_SHARD, layers)):
            weight = rng.standard_normal((rows, WIDTH), dtype=np.float32)
            tensors[f"layers.{i}.weight"] = weight
            tensors[f"layers.{i}.bias"] = rng.standard_normal(rows, dtype=np.float32)
        yield tensors


def make(folder: Path, gibibytes: float) -> None:
    """Write a checkpoint: its shards, one at a time, and their index."""
    folder.mkdir()
    weight_map: dict[str, str] = {}
    for i, tensors in enumerate(track(shards(gibibytes), description="making the checkpoint")):
        name = f"model-{i:05}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def command(memory: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line under a limit of memory, in MiB."""
    limited = f'ulimit -d {memory * 1024} && exec "$@"'
    command = [sys.executable, "-m", "array_constraints", *arguments]
    return subprocess.run(
        ["bash", "-c", limited, "bash", *command],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


def checked(memory: int, folder: Path, expected: int) -> dict[str, Any]:
    """Run ``check`` and return what it found; fail if it does not exit as expected."""
    run = command(memory, "check", str(folder), *OPTIONS, "--json")
    if run.returncode != expected:
        raise SystemExit(f"check of {folder.name} exits with {run.returncode}, not {expected}")
    found: dict[str, Any] = json.loads(run.stdout)
    violating = sum(tensor["before"]["violating"] for tensor in found["tensors"])
    slices = sum(tensor["before"]["slices"] for tensor in found["tensors"])
    rich.print(f"check {folder.name}: {violating} of {slices} rows are too long")
    return found


def verify(source: Path, copy: Path) -> None:
    """Read both checkpoints with the library of the format, and compare them."""
    for path in track(sorted(source.glob("*.safetensors")), description="verifying"):
        with safe_open(path, "np") as before, safe_open(copy / path.name, "np") as after:
            if before.metadata() != after.metadata():
                raise SystemExit(f"the metadata of {path.name} differ")
            for name in before.keys():  # noqa: SIM118 - it is not a mapping
                verify_tensor(name, before.get_tensor(name), after.get_tensor(name))


def verify_tensor(name: str, old: NDArray[Any], new: NDArray[Any]) -> None:
    """Fail where a row is too long, or one that was not has changed."""
    kept = np.ones(len(old), dtype=bool)
    if name.endswith(".weight"):
        lengths = np.linalg.norm(new.astype(np.float64), axis=1)
        if lengths.max() > RADIUS:
            raise SystemExit(f"a row of {name} has norm {lengths.max()}")
        kept = np.linalg.norm(old.astype(np.float64), axis=1) < RADIUS * (1 - 1e-6)
    if old[kept].tobytes() != new[kept].tobytes():
        raise SystemExit(f"what was not to change in {name} has changed")


def main(argv: list[str] | None = None) -> None:
    """Make, check, project, check and verify."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gibibytes", type=float, default=4.0, help="default: %(default)s")
    parser.add_argument("--memory", type=int, default=600, help="MiB; default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where the checkpoints are made")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source, copy = Path(folder, "checkpoint"), Path(folder, "constrained")
        make(source, args.gibibytes)
        size = sum(file.stat().st_size for file in source.iterdir())
        rich.print(f"{decimal(size)} of weights, {args.memory} MiB of memory")
        checked(args.memory, source, expected=1)
        run = command(args.memory, "project", str(source), str(copy), *OPTIONS, "--json")
        if run.returncode != 0:
            raise SystemExit(f"project exits with {run.returncode}")
        checked(args.memory, copy, expected=0)
        verify(source, copy)
    print("verified: no row is too long, and nothing else has changed")


if __name__ == "__main__":
    main()
