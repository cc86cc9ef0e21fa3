"""Every faulty implementation, and every right one."""

from __future__ import annotations

from faults import (
    arrays,
    calls,
    configs,
    correct,
    derivatives,
    errors,
    neighbours,
    numbers,
    sets,
    tracing,
    violations,
)
from faults.further import (
    monotone,
    of_combined,
    of_exact,
    of_sliced,
    of_sparse,
    of_thresholds,
)

FAMILIES = (
    sets,
    arrays,
    numbers,
    neighbours,
    calls,
    violations,
    tracing,
    derivatives,
    configs,
    errors,
    of_exact,
    of_sliced,
    monotone,
    of_sparse,
    of_thresholds,
    of_combined,
)
FAULTS = [fault for family in FAMILIES for fault in family.FAULTS]
CORRECT = correct.CORRECT
