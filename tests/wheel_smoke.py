"""Run by ``nox -s wheel`` with the installed wheel, outside the source tree."""

import sys
from pathlib import Path

import numpy as np

import array_constraints
from array_constraints import MaxNorm, deserialize, serialize


def main() -> None:
    installed = Path(array_constraints.__file__)
    if not installed.is_relative_to(sys.prefix) or not (installed.parent / "py.typed").exists():
        raise SystemExit(f"not the installed wheel: {installed}")
    constraint = MaxNorm(1.0)
    w = constraint(np.asarray([[3.0], [4.0]]))
    if not np.allclose(w, [[0.6], [0.8]]) or deserialize(serialize(constraint)) != constraint:
        raise SystemExit("the wheel gives a wrong result")
    print(f"the wheel of array_constraints {array_constraints.__version__} works")


if __name__ == "__main__":
    main()
