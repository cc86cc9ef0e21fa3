"""Type checkers accept what runs: the examples of the pages, and samples of all kinds of calls.

Samples are checked by ``mypy --strict`` and by pyright in its strict mode (of basedpyright,
whose wheels bring all that it needs), and run: what a checker refuses there raises. So are the
examples of the README and the docs, but for two rules:

- Functions of the examples have no annotations, for they are shorter without; checkers look
  into them all the same. So mypy runs with ``--allow-untyped-defs``,
  ``--allow-incomplete-defs`` and ``--allow-untyped-calls``, and pyright without the reports of
  what is unknown, which begins where a parameter has no type. That nothing of this library is
  unknown, the samples show.
- What other libraries do not say of their types is theirs: mypy reads none of them but NumPy
  (all of PyTorch takes it half a minute), pyright those that come with types. What is left is
  listed in ``OF_OTHERS``.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import refused_samples
import typed_samples
from blocks_of_pages import ROOT, imported_by, modules_of

from array_constraints import MaxNorm, MinMaxNorm, UnitNorm
from array_constraints.rules import Rule

PAGES = ["README.md", *(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md"))]
SAMPLES = ["typed_samples.py", "refused_samples.py"]
FRAMEWORKS = "typed_frameworks.py"
OF_OTHERS = {
    # Dask has types, and some of them are not right: chunks are no text alone.
    "w = da.random.default_rng(0).normal(size=(1000, 50), chunks=(100, 50))",
    "w = da.random.default_rng(0).normal(size=(4000, 100), chunks=(500, 100))",
    # It imports the module below the name of a function.
    "assert float(da.linalg.norm(constrained, axis=0).max()) <= 2.0 + 1e-12",
}
NOT_KNOWN = {
    "array_constraints.RadialConstraint",  # its axis is that of all forms
    "array_constraints.files.open_weights",  # attributes of what it returns are inferred
    "array_constraints.integrations.torch.Parametrization",  # its base is of PyTorch
}
MYPY = f"""[mypy]
strict = true
python_version = 3.11
mypy_path = {ROOT}:{ROOT / "conformance"}
explicit_package_bases = true
disallow_subclassing_any = false
[mypy-pages.*]
allow_untyped_defs = true
allow_incomplete_defs = true
allow_untyped_calls = true
check_untyped_defs = true
implicit_reexport = true
[mypy-array_constraints.*,array_constraints_conformance.*]
follow_imports = silent
[mypy-dask.*,distributed.*,equinox.*,flax.*,jax.*,keras.*,optax.*,sklearn.*,torch.*]
ignore_missing_imports = true
follow_imports = skip
[mypy-array_api_compat.*,h5py.*,hypothesis.*,matplotlib.*,ml_dtypes.*,pytest.*,rich.*,zarr.*]
ignore_missing_imports = true
follow_imports = skip
"""
UNKNOWN = ("Argument", "Lambda", "Member", "Parameter", "Variable")
PYRIGHT = {
    "typeCheckingMode": "strict",
    "pythonVersion": "3.11",
    "extraPaths": [str(ROOT), str(ROOT / "conformance"), "."],
    "useLibraryCodeForTypes": False,
    "enableTypeIgnoreComments": False,
    "reportUnnecessaryTypeIgnoreComment": "error",
    "reportMissingModuleSource": "none",
    "reportMissingTypeStubs": "none",
}
OF_PAGES = {
    **{f"reportUnknown{kind}Type": "none" for kind in UNKNOWN},
    "reportMissingParameterType": "none",
    "reportUntypedBaseClass": "none",
    "reportUnusedImport": "none",  # a page imports for its later blocks, and for effects
}


def is_there(text: str) -> bool:
    """Whether what a module imports is installed."""
    return all(importlib.util.find_spec(name) for name in imported_by(text) - {"pages"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the examples as modules, and the samples."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "pages").mkdir()
    (folder / "pages" / "__init__.py").touch()
    for page in PAGES:
        modules = modules_of(page, "pages.")
        if is_there("\n".join(modules.values())):
            for name, text in modules.items():
                (folder / "pages" / f"{name}.py").write_text(text)
    for name in (*SAMPLES, FRAMEWORKS):
        text = (ROOT / "tests" / name).read_text()
        if is_there(text):
            (folder / name).write_text(text)
    return folder


def test_mypy_accepts_the_examples_and_says_of_samples_what_they_say(folder):
    (folder / "mypy.ini").write_text(MYPY)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context"]
    command += ["--config-file", "mypy.ini", "pages", *SAMPLES]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, ""), run.stderr


def test_pyright_accepts_the_examples_and_says_of_samples_what_they_say(folder):
    pages = {"root": "pages", "extraPaths": PYRIGHT["extraPaths"], **OF_PAGES}
    settings = PYRIGHT | {"executionEnvironments": [pages, {"root": "."}]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson"]
    command += ["--pythonpath", sys.executable]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = json.loads(run.stdout)
    assert said["summary"]["filesAnalyzed"] >= 20
    assert "\n".join(filter(None, map(shown, said["generalDiagnostics"]))) == ""


def shown(report):
    """Return a report in one line; nothing of one that is of others."""
    path, line = Path(report["file"]), report["range"]["start"]["line"]
    text = path.read_text().splitlines()[line].strip()
    return "" if text in OF_OTHERS else f"{path.name}: {text}: {report['message']}"


def test_pyright_knows_the_types_of_what_the_reference_lists():
    command = [sys.executable, "-m", "basedpyright", "--verifytypes", "array_constraints"]
    command += ["--ignoreexternal", "--outputjson", "--pythonpath", sys.executable]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False)
    symbols = json.loads(run.stdout)["typeCompleteness"]["symbols"]
    reference = (ROOT / "docs" / "reference.md").read_text()
    listed = re.findall(r"auto(?:class|function|data):: (\S+)", reference)
    found = [s for s in symbols if any(f"{s['name']}.".startswith(f"{n}.") for n in listed)]
    assert len(found) >= len(listed)
    assert {s["name"] for s in found if not s["isTypeKnown"]} <= NOT_KNOWN


def functions_of(module):
    own = inspect.getmembers(module, inspect.isfunction)
    return [f for name, f in own if f.__module__ == module.__name__ and "_" in name]


@pytest.mark.parametrize("sample", functions_of(typed_samples), ids=lambda f: f.__name__)
def test_what_is_accepted_runs(sample, tmp_path):
    sample(*([tmp_path] if inspect.signature(sample).parameters else []))


@pytest.mark.parametrize("sample", functions_of(refused_samples), ids=lambda f: f.__name__)
def test_what_is_refused_raises(sample):
    with pytest.raises((TypeError, ValueError, AttributeError)):
        sample()


@pytest.mark.parametrize("cls", [MaxNorm, MinMaxNorm, UnitNorm, Rule], ids=lambda c: c.__name__)
def test_the_constructor_for_checkers_has_the_names_and_defaults_of_the_real_one(cls):
    tree = ast.parse(inspect.getsource(cls))
    (stated,) = (n for n in ast.walk(tree) if getattr(n, "name", "") == "__init__")
    defaults = [ast.literal_eval(default) for default in stated.args.defaults]
    real = list(inspect.signature(cls).parameters.values())
    assert [argument.arg for argument in stated.args.args[1:]] == [p.name for p in real]
    assert [p.default for p in real if p.default is not p.empty] == defaults
