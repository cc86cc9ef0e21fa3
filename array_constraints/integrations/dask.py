"""The old place of ``array_constraints.executors.dask.project``, for one release."""

from array_constraints.executors.dask import project

__all__ = ["project"]
