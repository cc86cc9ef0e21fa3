"""The only list of commands: ``nox --list``."""

import os
import sys
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests", "conformance", "docs", "wheel"]

PROJECT = nox.project.load_toml("pyproject.toml")
CONSTRAINTS = ("--constraint", "tests/constraints.txt")
# Compiling is most of the time that JAX takes: processes reuse what another has compiled.
COMPILED = tempfile.TemporaryDirectory(prefix="compiled-by-jax-")
# Threads of PyTorch that wait actively keep the processes beside theirs from running.
SIDE_BY_SIDE = {"OMP_WAIT_POLICY": "PASSIVE"}


def install(session: nox.Session, *groups: str, package: bool = True) -> None:
    wanted = nox.project.dependency_groups(PROJECT, *groups)
    session.install("--quiet", *CONSTRAINTS, *wanted, *(["--editable", "."] if package else []))


def shared(session: nox.Session, *groups: str) -> str:
    """Install into the one environment of all that need PyTorch and JAX; return its Python."""
    version = session.python if isinstance(session.python, str) else ""  # --force-python
    folder = Path(f".nox/shared{version}").resolve()
    python = str(folder / "bin" / "python")
    if not Path(python).exists():
        base = f"python{version}" if version else sys.executable
        session.run(base, "-m", "venv", str(folder), external=True)
    wanted = nox.project.dependency_groups(PROJECT, *groups)
    session.run(
        *(python, "-m", "pip", "install", "--quiet"),
        "--no-compile",  # half of the minutes of this: Python compiles what is imported
        *(*CONSTRAINTS, *wanted, "--editable", "."),
        external=True,
    )
    session.env["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    session.env["PYTHONDONTWRITEBYTECODE"] = ""  # and once, for all processes that are started
    session.env["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")
    compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR", COMPILED.name)
    session.env["JAX_COMPILATION_CACHE_DIR"] = compiled
    session.env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return python


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests; torch is installed on Python 3.11 only."""
    python = shared(session, "test")
    # Neighbours in one process: JAX compiles a shape once there.
    command = ["-m", "pytest", "--numprocesses=auto", "--dist=worksteal", "--durations=20"]
    session.run(python, *command, *session.posargs, env=SIDE_BY_SIDE, external=True)


@nox.session(venv_backend="none")
def conformance(session: nox.Session) -> None:
    """Judge this library by the conformance suite, on every array library."""
    python = shared(session, "conformance")
    matrix = ["--matrix", "--quick", f"--processes={os.cpu_count()}"]
    options = session.posargs or [*matrix, "--report", "conformance/report"]
    command = ["-m", "array_constraints_conformance", "--constraints", "array_constraints"]
    session.run(python, *command, *options, env=SIDE_BY_SIDE, external=True)


@nox.session(venv_backend="none")
def results(session: nox.Session) -> None:
    """Judge the peers, each in a process of its own, and rewrite docs/results.md."""
    python = shared(session, "test")
    session.run(python, "tests/measure_peers.py", *session.posargs, external=True)


@nox.session(venv_backend="none")
def seeds(session: nox.Session) -> None:
    """Judge the faulty and the right implementations with 20 seeds: verdicts must agree."""
    python = shared(session, "test")
    session.run(python, "tests/measure_seeds.py", *session.posargs, external=True)


@nox.session(venv_backend="none")
def mutants(session: nox.Session) -> None:
    """Mutate the library; what neither the suite nor the tests notice must be listed."""
    python = shared(session, "test", "mutants")
    session.run(python, "tests/measure_mutants.py", *session.posargs, external=True)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """Train a small network on handwritten digits, its layers under constraints."""
    python = shared(session, "demo", "libraries")
    session.run(python, "docs/examples/digits.py", *session.posargs, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    install(session, "lint", package=False)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly."""
    install(session, "types")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation, run its doctests, and see that it loads nothing remote."""
    install(session, "docs")
    for builder in ("html", "doctest"):
        session.run("sphinx-build", "-W", "-q", "-b", builder, "docs", f"docs/_build/{builder}")
    session.run("python", "tests/built_pages.py", "docs/_build/html")


@nox.session(venv_backend="none")
def numerics(session: nox.Session) -> None:
    """Measure the numeric contract on every library, and rewrite the tables of the docs."""
    python = shared(session, "test")
    session.run(python, "tests/measure_numerics.py", *session.posargs, external=True)


@nox.session(venv_backend="none")
def benchmarks(session: nox.Session) -> None:
    """Time this library beside its peers, as ratios: a short version of docs/performance.md."""
    python = shared(session, "test")
    session.run(
        python, "-m", "benchmarks", *(session.posargs or ["--rounds", "3"]), external=True
    )
    if not session.posargs:
        command = ["-m", "benchmarks.out_of_core", "--rounds", "3", "--gibibytes", "0.5"]
        session.run(python, *command, env={"OMP_NUM_THREADS": "1"}, external=True)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, and use it in a clean environment outside the source tree."""
    with tempfile.TemporaryDirectory() as folder:
        session.install("--quiet", "build", "hatchling")
        session.run("python", "-m", "build", "--no-isolation", "--outdir", folder, silent=True)
        session.run("pip", "uninstall", "--quiet", "--yes", "array-constraints")
        session.install("--quiet", *CONSTRAINTS, "numpy", *map(str, Path(folder).glob("*.whl")))
        smoke = Path("tests/wheel_smoke.py").resolve()
        session.chdir(folder)
        session.run("python", "-I", "-W", "error", str(smoke))


@nox.session
def readme(session: nox.Session) -> None:
    """Run all of conformance/README.md as it stands there, in an empty directory."""
    text = Path("conformance/README.md").read_text()
    commands, *examples, in_pytest = text.split("```")[1::2]
    pins = str(Path("tests/constraints.txt").resolve())
    environment = {"PIP_CONSTRAINT": pins, "PYTHONPATH": ""}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        session.chdir(folder)
        Path("pytest.ini").touch()  # not the settings of this project
        Path("own.py").write_text(
            "".join(example.removeprefix("python") for example in examples)
        )
        Path("test_own.py").write_text(in_pytest.removeprefix("python"))
        install, finds, passes = commands.strip().splitlines()
        own, tests = ".venv/bin/python own.py", ".venv/bin/python -m pytest -q test_own.py"
        statuses = {install: 0, finds: 1, passes: 0, own: 0, tests: 0}
        for command, status in statuses.items():
            run = ("bash", "-c", command)
            session.run(*run, env=environment, success_codes=[status], external=True)
