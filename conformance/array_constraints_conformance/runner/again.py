"""The line that judges one task again, as it can be pasted into a shell."""

from __future__ import annotations

import inspect
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from array_constraints_conformance.runner.plan import Plan
from array_constraints_conformance.runner.results import Result
from array_constraints_conformance.trial.offers import looked_up

SUITE = "array_constraints_conformance"

# What changes how a library computes, or where; it counts where the library is imported.
_VARIABLES = {
    "keras": ("KERAS_BACKEND",),
    "jax": ("JAX_PLATFORMS", "JAX_ENABLE_X64", "XLA_FLAGS", "CUDA_VISIBLE_DEVICES"),
    "torch": ("CUDA_VISIBLE_DEVICES",),
    "cupy": ("CUDA_VISIBLE_DEVICES",),
}


def environment(module: Any = None) -> dict[str, str]:
    """Return the variables that a shell needs to judge a module as this process does.

    Those of the libraries that are imported here; and ``PYTHONPATH``, where the module, or
    this suite, lies there.
    """
    names = [
        name for library in _VARIABLES if library in sys.modules for name in _VARIABLES[library]
    ]
    if _on_the_path(looked_up(module, "__file__")) or _on_the_path(__file__):
        names.append("PYTHONPATH")
    return {name: os.environ[name] for name in dict.fromkeys(names) if os.environ.get(name)}


def _on_the_path(file: object) -> bool:
    """Whether a file lies in a folder that ``PYTHONPATH`` names."""
    folders = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return isinstance(file, str) and any(
        Path(folder).resolve() in Path(file).resolve().parents for folder in folders
    )


def shell_line(variables: Mapping[str, str], words: Sequence[str]) -> str:
    """Return a line for a shell that runs the suite with these words."""
    set_before = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    return " ".join([*set_before, shlex.join([_python(), "-m", SUITE, *words])])


def _python() -> str:
    """Return what a shell calls the interpreter that runs here."""
    own = Path(sys.executable)
    for name in ("python", "python3"):
        if (found := shutil.which(name)) and Path(found) == own:
            return name
    here = Path.cwd()
    return str(own.relative_to(here)) if own.is_relative_to(here) else str(own)


def call_again(plan: Plan, result: Result) -> str:
    """Return the call in Python that judges a constraint of the caller's code again."""
    words = [*_judged(plan), f"only={[result.requirement.id]!r}", f"xp={result.library!r}"]
    words += [f"profile={plan.profile.name!r}"]
    for name, value in (
        ("seed", plan.seed),
        ("dtypes", list(plan.dtypes)),
        ("device", _device(plan)),
        ("gaps", plan.gaps_named),
    ):
        words += [f"{name}={value!r}"] if value else []
    return f"check_constraint({', '.join(words)})"


def _judged(plan: Plan) -> Iterator[str]:
    """Return the arguments that say what is judged, where they can be written."""
    rule, name = plan.subject.member, plan.subject.name
    named = inspect.isfunction(plan.subject.made) and name.isidentifier()
    yield name if named else "..."
    if plan.subject.given is not None:
        yield "definition=..."
    if rule is not None:
        yield "contains=..."
        yield from [] if rule.axis is None else [f"axis={rule.axis!r}"]
        yield from ["convex=True"] if rule.convex else []
        yield from [] if rule.idempotent else ["idempotent=False"]


def line_again(plan: Plan, result: Result, timeout: float | None) -> str:
    """Return the line for a shell that judges a module again by one requirement."""
    words = ["--constraints", plan.subject.name, "--xp", result.library]
    words += ["--only", result.requirement.id, "--constraint", result.constraint]
    given = timeout not in (None, plan.profile.timeout)
    words += ["--timeout", f"{timeout:g}"] if given else []
    words += [f"--{plan.profile.name}"] if plan.profile.name != "default" else []
    words += [word for dtype in plan.dtypes for word in ("--dtype", dtype)]
    words += ["--seed", str(plan.seed)] if plan.seed else []
    words += ["--known-gaps", plan.gaps_named] if plan.gaps_named else []
    device = _device(plan)
    return shell_line(plan.environment, words + (["--device", device] if device else []))


def _device(plan: Plan) -> str | None:
    return plan.libraries[0].device_name if plan.libraries else None
