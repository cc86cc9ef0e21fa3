"""A real cluster of two worker processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time

import measure
import numpy as np
import pytest
from stored_weights import BY_NAME, digest, weights

from array_constraints import MaxNorm, NonNeg, UnitNorm
from array_constraints.files import check_file, project_file

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore:Port:UserWarning"
)

CHUNK = 2**26
CONSTRAINT = MaxNorm(30.0, axis=0)


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=5 * CHUNK, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of two gibibytes, and the digest of what threads make of it."""
    folder = tmp_path_factory.mktemp("cluster")
    path, out = folder / "in.npy", folder / "out.npy"
    measure.make(path, 2048)
    project_file(path, out, CONSTRAINT, workers=2)
    yield path, _sha(out)
    path.unlink()
    out.unlink()


def _sha(path):
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _spilled(dask_worker):
    return dask_worker.data.spilled_total.disk


def test_a_file_larger_than_the_workers_is_constrained_without_spilling(client, large):
    path, expected = large
    out = path.with_name("cluster.npy")
    tasks = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
    project_file(path, out, CONSTRAINT, chunk_size=CHUNK)  # the active client
    assert _sha(out) == expected
    assert set(client.run(_spilled).values()) == {0}
    assert (
        client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)
        > tasks
    )
    out.unlink()


def test_a_worker_that_is_killed_changes_nothing(client, large):
    path, expected = large
    out, pids = path.with_name("killed.npy"), list(client.run(os.getpid).values())

    def kill():
        while not out.with_name("killed.npy.partial").exists():
            time.sleep(0.01)
        time.sleep(1.0)
        os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    project_file(path, out, CONSTRAINT, chunk_size=CHUNK, scheduler=client)
    killer.join()
    assert _sha(out) == expected
    out.unlink()


@pytest.mark.parametrize(
    "name", ["safetensors", "shards", "npz", "zarr-3", "hdf5-gzip", "keras"]
)
def test_every_format_gets_the_same_bytes_from_a_cluster(name, client, tmp_path):
    form = BY_NAME[name]
    path, outs = tmp_path / f"in{form.suffix}", [tmp_path / f"{i}{form.suffix}" for i in "ab"]
    form.make(path, {"w": weights("float32"), "v": weights("float16"), "ids": np.arange(3)})
    rules = [("*w", UnitNorm(axis=0)), ("*v", NonNeg())]
    reports = [
        project_file(path, outs[0], rules, workers=2),
        project_file(path, outs[1], rules, scheduler=client.scheduler.address),
    ]
    assert digest(outs[0]) == digest(outs[1])
    assert reports[0].tensors[0].after == reports[1].tensors[0].after
    assert check_file(path, rules, workers=1) == check_file(path, rules, scheduler=client)


def test_two_tasks_a_chunk(client, tmp_path):
    path = tmp_path / "w.npy"
    measure.make(path, 64)

    def calls():
        log = client.run_on_scheduler(
            lambda dask_scheduler: list(dask_scheduler.transition_log)
        )
        return len({entry[0] for entry in log if "_call" in str(entry[0])})

    before = calls()
    project_file(path, tmp_path / "out.npy", CONSTRAINT, chunk_size=2**23, scheduler=client)
    assert calls() - before == 2 * 8


def test_the_command_line_finds_a_cluster_by_its_address(client, tmp_path, monkeypatch):
    import subprocess
    import sys

    monkeypatch.chdir(tmp_path)  # the workers are elsewhere
    np.save("in.npy", weights("float64")[:, 3:])
    command = [sys.executable, "-m", "array_constraints", "project", "in.npy", "out.npy"]
    options = ["--constraint", "max_norm", "--scheduler", client.scheduler.address]
    run = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "2 threads of a cluster" in run.stderr
    project_file("in.npy", "threads.npy", MaxNorm(2), workers=1)
    assert digest(tmp_path / "out.npy") == digest(tmp_path / "threads.npy")


def test_the_error_of_a_worker_is_the_error_of_the_run(client, tmp_path):
    from array_constraints.files import ResumableError

    path = tmp_path / "w.npy"
    measure.make(path, 64)
    gone = lambda count: path.exists() and path.unlink()  # noqa: E731
    with pytest.raises((ResumableError, FileNotFoundError), match="No such file"):
        project_file(
            path,
            tmp_path / "out.npy",
            CONSTRAINT,
            chunk_size=2**23,
            scheduler=client,
            progress=gone,
        )


def test_an_address_without_a_scheduler_is_an_error(tmp_path):
    np.save(tmp_path / "w.npy", weights("float32"))
    with pytest.raises(OSError, match=r"Timed out|refused|connect|answer"):
        check_file(tmp_path / "w.npy", NonNeg(), scheduler="tcp://127.0.0.1:1")
