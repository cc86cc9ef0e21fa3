"""Weights in files of any size: checked and constrained region by region."""

from array_constraints.files.api import check_file, norms_of_file, planned, project_file
from array_constraints.files.formats.damaged import DamagedFileError
from array_constraints.files.formats.opening import open_weights
from array_constraints.files.options import CHUNK_SIZE, MOST_WORKERS, PATIENCE, Options
from array_constraints.files.run.distribution import Distribution
from array_constraints.files.run.plan import Plan
from array_constraints.files.run.project import ResumableError
from array_constraints.files.run.report import (
    Report,
    Skipped,
    SliceViolation,
    Summary,
    TensorReport,
)

__all__ = [
    "CHUNK_SIZE",
    "MOST_WORKERS",
    "PATIENCE",
    "DamagedFileError",
    "Distribution",
    "Options",
    "Plan",
    "Report",
    "ResumableError",
    "Skipped",
    "SliceViolation",
    "Summary",
    "TensorReport",
    "check_file",
    "norms_of_file",
    "open_weights",
    "planned",
    "project_file",
]
