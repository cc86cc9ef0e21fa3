"""The packages that the suite needs, and what is said where one of them is not installed."""

from __future__ import annotations

NEEDS = ("hypothesis", "ml-dtypes", "numpy", "pytest", "rich")
"""The packages of the extra ``conformance``."""


def missing(error: ModuleNotFoundError) -> str:
    """Return a sentence with what to install, or raise the error if no package is missing."""
    name = (error.name or "").partition(".")[0].replace("_", "-")
    if name not in NEEDS:
        raise error
    return f"the conformance suite needs {name}: pip install {' '.join(NEEDS)}"
