"""Measure forms of one's own beside ``MaxNorm``, and beside NumPy written by hand.

``python -m benchmarks.own_forms`` prints ratios of one run, interleaved. The forms are those
that ``docs/adding-a-constraint.md`` teaches; nothing in them is written for speed.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from array_constraints import MaxNorm
from array_constraints.files import project_file
from benchmarks.interleaved import Contestant, interleave, ratio

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-constraint.md"
SHAPE = (4096, 4096)
BLOCK = 2**18  # entries


def forms() -> dict[str, Any]:
    """Return the classes of the page, by their names."""
    found: dict[str, Any] = {"__name__": __name__}
    text, _, _ = PAGE.read_text().partition("Then they behave")
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), found)
    return found


def lowered_by_hand(w: np.ndarray[Any, Any], axis: int, most: float) -> Any:
    """Lower slices whose mean is above ``most``, in blocks of whole rows."""
    rows = max(1, BLOCK // w.shape[1])
    out = np.empty_like(w)
    if axis == 0:
        total = np.zeros(w.shape[1])
        for i in range(0, len(w), rows):
            total += np.sum(w[i : i + rows], axis=0, dtype=np.float64)
        excess = np.maximum(total / len(w) - most, 0)
        for i in range(0, len(w), rows):
            block = w[i : i + rows]
            out[i : i + rows] = np.where(excess > 0, block.astype(np.float64) - excess, block)
        return out
    for i in range(0, len(w), rows):
        block = w[i : i + rows]
        mean = np.mean(block, axis=1, keepdims=True, dtype=np.float64)
        excess = np.maximum(mean - most, 0)
        out[i : i + rows] = np.where(excess > 0, block.astype(np.float64) - excess, block)
    return out


def pairs(library: str) -> Iterator[tuple[str, Contestant, Contestant]]:
    """Yield each case: its name, what is measured, and beside what."""
    w: Any = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    x, place = w, w.copy()
    if library == "torch":
        import torch

        torch.set_num_threads(1)
        x, place = torch.from_numpy(w), torch.from_numpy(place)
    found = forms()
    for axis in (0, 1):
        c = {"ours": found["L1Ball"](2000.0, axis), "reference": MaxNorm(40.0, axis)}
        name = f"L1 ball beside MaxNorm, {library}, axis {axis}"
        yield name, *(Contestant(k, functools.partial(f, x)) for k, f in c.items())
        in_place = (
            Contestant(
                k,
                functools.partial(f, place, copy=False),
                functools.partial(place.__setitem__, ..., x),
            )
            for k, f in c.items()
        )
        yield f"{name}, in place", *in_place
        if library == "numpy":
            own = Contestant("ours", functools.partial(found["MaxMean"](0.0, axis), w))
            hand = Contestant("reference", functools.partial(lowered_by_hand, w, axis, 0.0))
            yield f"mean beside NumPy by hand, axis {axis}", own, hand


def on_files(folder: Path) -> Iterator[tuple[str, Contestant, Contestant]]:
    """Yield the same out of core: one thread, chunks of 8 MiB."""
    source, target = folder / "w.npy", folder / "out.npy"
    np.save(source, np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32))
    options = {"chunk_size": 2**23, "workers": 1, "overwrite": True}
    for axis in (0, 1):
        c = {"ours": forms()["L1Ball"](2000.0, axis), "reference": MaxNorm(40.0, axis)}
        runs = (
            Contestant(k, functools.partial(project_file, source, target, f, **options))
            for k, f in c.items()
        )
        yield f"L1 ball beside MaxNorm, .npy, axis {axis}", *runs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.own_forms", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each case")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        for name, ours, reference in itertools.chain(
            pairs("numpy"), pairs("torch"), on_files(Path(folder))
        ):
            seconds = interleave([ours, reference], rounds)
            found = ratio(seconds, "ours", "reference")
            print(f"{name}: {found.median:.2f} ({found.lower:.2f} to {found.upper:.2f})")


if __name__ == "__main__":
    main()
