"""What the package imports, and what it makes public."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import array_constraints as ac

ROOT = Path(__file__).parents[1]

FORBIDDEN = {
    "numpy", "torch", "jax", "dask", "cupy", "array_api_strict", "keras", "ml_dtypes",
    "rich", "tomllib", "json", "safetensors", "zarr", "h5py",
}  # fmt: skip


def loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True)
    return set(run.stdout.decode().split())


def test_importing_loads_no_array_library_and_no_file_library():
    loaded = loaded_after("import array_constraints")
    assert not loaded & FORBIDDEN
    extra = loaded - loaded_after("import array_api_compat, dataclasses")
    assert {name for name in extra if not name.startswith("array_constraints")} == set()


def test_everything_public_is_listed_sorted_and_documented():
    public = {name for name in vars(ac) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(ac, name))}
    assert public - modules == set(ac.__all__)
    assert ac.__all__ == sorted(ac.__all__)
    for name in ac.__all__:
        symbol = getattr(ac, name)
        assert symbol.__doc__, name
        assert ">>>" in symbol.__doc__ or symbol in (ac.Array, ac.Namespace, ac.Bound), name
        if not inspect.isclass(symbol) or symbol in (ac.Array, ac.Namespace):
            continue  # the protocols are documented by the standard
        for member, value in vars(symbol).items():
            if inspect.isfunction(value) and not member.startswith("_"):
                assert inspect.getdoc(getattr(symbol, member)), f"{name}.{member}"


def test_aliases_are_the_classes():
    assert ac.max_norm is ac.MaxNorm
    assert ac.min_max_norm is ac.MinMaxNorm
    assert ac.non_neg is ac.NonNeg
    assert ac.unit_norm is ac.UnitNorm
    assert ac.radial_constraint is ac.RadialConstraint


def test_mutants_that_are_listed_as_equivalent_are_of_the_code_as_it_is():
    listed = ROOT / "tests" / "equivalent_mutants.toml"
    for mutant in tomllib.loads(listed.read_text())["mutant"]:
        lines = (ROOT / "array_constraints" / f"{mutant['module']}.py").read_text().splitlines()
        assert mutant["was"].strip() in [line.strip() for line in lines]
        assert mutant["now"]
        assert mutant["why"]
