"""Choose who does the work of a run: threads, or the workers of a Dask cluster."""

from __future__ import annotations

import sys
from typing import Any

from array_constraints.files.options import PATIENCE
from array_constraints.files.run.cluster import Cluster, cluster_at
from array_constraints.files.run.workers import Threads, Workers


def workers_for(
    count: int | None, scheduler: str | Any | None, patience: float = PATIENCE
) -> Workers:
    """Return the cluster at an address, that of a client, the active one, or else threads.

    Raises
    ------
    ImportError
        If a cluster is asked for and Dask is not installed.
    OSError
        If there is no scheduler at the address, or no worker for ``patience`` seconds.
    ValueError
        If both a number of threads and a cluster are given.
    """
    client = active_client() if scheduler is None else scheduler
    if client is None:
        return Threads(count)
    if count is not None and scheduler is not None:
        raise ValueError("workers are those of the cluster: give a number or a scheduler")
    if count is not None:
        return Threads(count)
    if isinstance(client, str):
        return cluster_at(client, patience)
    return Cluster(client, patience)


def active_client() -> Any | None:
    """Return the client of Dask that is active here, if there is one."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None
