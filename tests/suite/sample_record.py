"""A record in which every outcome, and everything that a report must escape, occurs."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from typing import Any

# What must come out as text, whatever the report: markup, ends of the script, a line separator.
HOSTILE = "a|b </script><script>boom()</script><!-- <img src=x onerror=boom()>& `x`\u2028é ‖w‖"

LIBRARIES = {
    "numpy": ("2.4.6", "CPU", ["float32", "float64"]),
    "torch": ("2.13.0", "CPU", ["bfloat16", "float32", "float64"]),
    "jax.numpy+x64+jit": ("0.10.2", "CPU", ["float16", "bfloat16", "float32", "float64"]),
    "private": (None, "GPU 0 (NVIDIA H200)", ["float32"]),
}
CONSTRAINTS = ["MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"]
REQUIREMENTS = {
    "MAP-1": ("map", "MUST", "Shape and dtype are kept", "`P(w)` has those of `w`."),
    "SET-1": (
        "map",
        "MUST",
        "The result is in the set",
        r"$\lVert P(w) \rVert_2 \le c\,(1 + 12u)$ for each slice, with $u = \frac{1}{2^{24}}$.",
    ),
    "SET-2": (
        "map",
        "MUST",
        "Interior points do not move",
        "If `w` is inside the set by more than the tolerance, `P(w)` equals `w` *exactly*.",
    ),
    "SET-3": ("map", "SHOULD", "Zero stays finite", r"$P(0)$ is finite; $0$ if $0 \in C$."),
    "KER-1": ("Keras API", "MUST", "`get` reads every form", "`get` takes a name or a config."),
    "KER-2": (
        "Keras API",
        "MUST",
        "A config leads back",
        "`from_config(get_config())` behaves alike:\n\n- in value,\n- in $\\unknown{dtype}$.",
    ),
    "OWN-1": ("this API", "SHOULD", "The input may be reused", "`copy=False` gives `w`."),
}
MAX_NORM_MOVED = {
    "constraint": "MaxNorm(max_value=2, axis=0)",
    "dtype": "float32",
    "input": "[[1.0, 0.5],\n [1.0, 0.25]]",
    "expected": "[[1.0, 0.5],\n [1.0, 0.25]]",
    "got": "[[0.99999994, 0.49999997],\n [0.99999994, 0.24999999]]",
    "message": "4 of 4 entries moved, by up to 5.96e-08",
    "reproduce": "python -m array_constraints_conformance --constraints keras.constraints "
    "--xp numpy --only SET-2 --constraint MaxNorm --seed 0",
}
UNIT_NORM_OF_ZERO = {
    "constraint": "UnitNorm(axis=0)",
    "dtype": None,
    "input": HOSTILE,
    "expected": "a finite | array",
    "got": "[nan\x00, nan]",
    "message": HOSTILE,
    "reproduce": "python -m array_constraints_conformance --only SET-3 | tee 'it`s'",
}
SUBNORMAL = "Subnormal slices are flushed to zero: issue #7."

# What is not "met": (requirement, constraint, library) to (outcome, reason, counterexample).
EXCEPTIONS = {
    ("SET-2", "MaxNorm", "numpy"): ("not met", None, MAX_NORM_MOVED),
    ("SET-2", "MaxNorm", "torch"): ("not met", None, MAX_NORM_MOVED),
    ("SET-2", "UnitNorm", "torch"): ("gap closed", "Listed for torch 2.12.", None),
    ("SET-3", "UnitNorm", "numpy"): ("not met", None, UNIT_NORM_OF_ZERO),
    ("SET-1", "MaxNorm", "jax.numpy+x64+jit"): ("known gap", SUBNORMAL, None),
    ("SET-1", "MaxNorm", "private"): ("known gap", SUBNORMAL, None),
    ("SET-2", "MinMaxNorm", "private"): ("untested", None, None),
    **{
        ("OWN-1", name, library): ("not provided", "There is no `copy`.", None)
        for name, library in itertools.product(CONSTRAINTS, LIBRARIES)
    },
    **{
        (requirement, "NonNeg", library): ("not applicable", "Not a norm constraint.", None)
        for requirement, library in itertools.product(("SET-1", "SET-2"), LIBRARIES)
    },
}


def sample() -> dict[str, Any]:
    """Return a new record, valid against the schema."""
    results = [
        _result(requirement, constraint, library)
        for requirement in REQUIREMENTS
        for constraint in (["module"] if requirement == "KER-1" else CONSTRAINTS)
        for library in LIBRARIES
    ]
    return {
        "schema_version": 1,
        "suite": {"name": "array_constraints_conformance", "version": "0.1.0"},
        "created": "2026-11-24T10:00:00+00:00",
        "command": "python -m array_constraints_conformance --constraints keras.constraints",
        "profile": "quick",
        "timeout": 300.0,
        "seed": 0,
        "subject": {"name": "keras.constraints", "version": "3.15.1"},
        "libraries": [
            {"name": name, "version": version, "device": device, "dtypes": list(dtypes)}
            for name, (version, device, dtypes) in LIBRARIES.items()
        ],
        "constraints": list(CONSTRAINTS),
        "requirements": [_requirement(name) for name in REQUIREMENTS],
        "results": results,
        "scopes": [
            {"scope": "map", "judged": True, "reason": "any callable is judged as a map"},
            {"scope": "Keras API", "judged": True, "reason": "it has get"},
            {"scope": "this API", "judged": False, "reason": "it has no `violation`"},
        ],
        "verdicts": [_verdict("map", results), _verdict("Keras API", results)],
    }


def _requirement(name: str) -> dict[str, Any]:
    scope, level, title, law = REQUIREMENTS[name]
    about = "norm constraints" if name in ("SET-1", "SET-2") else "every constraint"
    return {
        "id": name,
        "level": level,
        "scope": scope,
        "title": title,
        "law": law,
        "constraints": "the module" if name == "KER-1" else about,
        "libraries": "every library",
    }


def _result(requirement: str, constraint: str, library: str) -> dict[str, Any]:
    key = (requirement, constraint, library)
    outcome, reason, counterexample = EXCEPTIONS.get(key, ("met", None, None))
    judged = outcome in ("met", "not met", "known gap", "gap closed")
    return {
        "requirement": requirement,
        "constraint": constraint,
        "library": library,
        "outcome": outcome,
        "applied": 100 if judged else 0,
        "seconds": 0.25,
        "reason": reason,
        "counterexample": copy.deepcopy(counterexample),
    }


def _verdict(scope: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    of_scope = (r for r in results if REQUIREMENTS[r["requirement"]][0] == scope)
    counts = Counter(result["outcome"] for result in of_scope)
    return {
        "scope": scope,
        "outcome": "not met" if counts["not met"] else "met",
        "counts": dict(counts),
    }
