"""Clusters that fall silent: processes that are killed, stopped, or not yet there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from stored_weights import digest

from array_constraints import MaxNorm
from array_constraints.files import ResumableError, check_file, project_file

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore:Port:UserWarning"
)
PATIENCE = 2
OPTIONS = {"chunk_size": 2**22, "patience": PATIENCE}


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.scheduler = self.start("scheduler", "--port", "0", "--host", "127.0.0.1")
        while not (self.file.exists() and self.file.read_text().endswith("}")):
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]
        self.workers = []

    def start(self, what, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options]
        command += ["--scheduler-file", str(self.file), "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        return subprocess.Popen(command, **quiet, env=environment, cwd=self.folder)

    def add_worker(self):
        options = ["--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder)]
        self.workers.append(self.start("worker", *options))

    def wait_for(self, count):
        with distributed.Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)

    def remove_workers(self):
        self.scheduler.send_signal(signal.SIGCONT)
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.workers.clear()
        with distributed.Client(self.address, set_as_default=False) as client:
            while client.scheduler_info()["workers"]:
                time.sleep(0.05)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("processes"))
    yield cluster
    for process in (cluster.scheduler, *cluster.workers):
        process.kill()
        process.wait()


@pytest.fixture
def cluster(processes):
    yield processes
    processes.remove_workers()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("silent") / "in.npy"
    rng = np.random.default_rng(0)
    np.save(path, rng.standard_normal((20_000, 500), dtype="f4"))
    project_file(path, path.with_name("threads.npy"), MaxNorm(3.0), workers=1)
    return path


def at_work(fault):
    """Return a ``progress`` that calls ``fault`` once the cluster has finished something."""
    calls = []

    def progress(count):
        calls.append(count)
        if len(calls) == 3:
            fault()

    return progress


def project(source, address, fault=lambda: None, **options):
    out = source.with_name("out.npy")
    options = {"overwrite": not options.get("resume"), **options}
    options = {**OPTIONS, "scheduler": address, **options}
    return project_file(source, out, MaxNorm(3.0), progress=at_work(fault), **options)


def resumed(source, address):
    project(source, address, resume=True, patience=30)
    out = source.with_name("out.npy")
    same = digest(out) == digest(source.with_name("threads.npy"))
    out.unlink()
    return same


def test_a_cluster_without_workers_is_said_and_given_up(cluster, source, caplog):
    with pytest.raises(TimeoutError, match=r"for 2 seconds .* has 0 workers with 0 threads"):
        project(source, cluster.address)
    with pytest.raises(TimeoutError, match="start workers, or raise patience"):
        check_file(source, MaxNorm(3.0), scheduler=cluster.address, **OPTIONS)
    with (
        distributed.Client(cluster.address, set_as_default=False) as client,
        pytest.raises(TimeoutError, match="0 workers"),
    ):
        check_file(source, MaxNorm(3.0), scheduler=client, **OPTIONS)
    assert "no worker of the cluster at tcp://127.0.0.1" in caplog.text
    assert not source.with_name("out.npy.partial").exists()


def test_the_command_line_claims_no_threads_that_are_not_there(cluster, source):
    command = [sys.executable, "-m", "array_constraints", "check", str(source)]
    options = ["--constraint", "max_norm", "--scheduler", cluster.address, "--patience", "1"]
    run = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert run.returncode == 4
    assert "no worker of the cluster" in run.stderr
    assert "nothing was finished for 1 seconds" in run.stderr
    assert "at work" not in run.stderr
    assert "Traceback" not in run.stderr


def test_a_worker_that_comes_within_the_limit_is_waited_for(cluster, source):
    later = threading.Timer(4.0, cluster.add_worker)
    later.start()
    report = check_file(source, MaxNorm(3.0), scheduler=cluster.address, patience=60)
    later.join()
    assert report.tensors[0].before.violating == 500


def test_an_adaptive_cluster_is_asked_for_a_worker(source):
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, dashboard_address=":0"
    ) as local:
        local.adapt(minimum=0, maximum=1, interval="200ms")
        report = check_file(
            source, MaxNorm(3.0), scheduler=local.scheduler_address, patience=60
        )
    assert report.tensors[0].before.violating == 500


def test_workers_that_all_die_end_the_run_which_can_be_resumed(cluster, source):
    cluster.add_worker()
    cluster.wait_for(1)
    with pytest.raises(ResumableError, match=r"(?s)0 workers with 0 .*go on with resume=True"):
        project(source, cluster.address, cluster.workers[0].kill)
    cluster.add_worker()
    assert resumed(source, cluster.address)


def test_a_worker_that_is_stopped_ends_the_run_which_can_be_resumed(cluster, source):
    cluster.add_worker()
    cluster.add_worker()
    cluster.wait_for(2)
    stopped = cluster.workers[0]
    with pytest.raises(ResumableError, match="2 workers with 2 threads"):
        project(source, cluster.address, lambda: stopped.send_signal(signal.SIGSTOP))
    with pytest.raises(TimeoutError, match="2 workers with 2 threads"):
        check_file(source, MaxNorm(3.0), scheduler=cluster.address, **OPTIONS)
    stopped.send_signal(signal.SIGCONT)
    assert resumed(source, cluster.address)


SCRIPT = """
import os, signal, sys
from array_constraints import MaxNorm
from array_constraints.files import project_file
calls = []
def progress(count):
    calls.append(count)
    if len(calls) == 3:
        os.kill(int(sys.argv[4]), signal.SIGSTOP)
options = {"chunk_size": 2**22, "patience": 2, "scheduler": sys.argv[3]}
project_file(sys.argv[1], sys.argv[2], MaxNorm(3.0), progress=progress, **options)
"""


def test_a_scheduler_that_is_stopped_lets_the_process_end(cluster, source):
    cluster.add_worker()
    cluster.wait_for(1)
    out, pid = source.with_name("out.npy"), str(cluster.scheduler.pid)
    arguments = [str(source), str(out), cluster.address, pid]
    command = [sys.executable, "-c", SCRIPT, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    with pytest.raises(OSError, match="does not answer"):
        check_file(source, MaxNorm(3.0), scheduler=cluster.address, **OPTIONS)
    cluster.scheduler.send_signal(signal.SIGCONT)
    assert "no scheduler that answers" in run.stderr
    assert run.stderr.rstrip().endswith("go on with resume=True.")
    assert resumed(source, cluster.address)


def test_a_client_whose_scheduler_is_stopped_is_given_up(cluster, source):
    cluster.add_worker()
    cluster.wait_for(1)
    stop = lambda: cluster.scheduler.send_signal(signal.SIGSTOP)  # noqa: E731
    with distributed.Client(cluster.address, set_as_default=False) as client:
        with pytest.raises(ResumableError, match="no scheduler that answers"):
            project(source, client, stop)
        with pytest.raises(OSError, match=r"scheduler of the cluster at tcp://.* timed out"):
            check_file(source, MaxNorm(3.0), scheduler=client, **OPTIONS)
        cluster.scheduler.send_signal(signal.SIGCONT)
        assert resumed(source, client)


def test_a_long_task_is_no_reason(cluster, tmp_path):
    cluster.add_worker()
    cluster.wait_for(1)
    np.save(tmp_path / "w.npy", np.ones((2, 3)))

    def slow(w):
        import time

        time.sleep(9)
        return w

    report = check_file(tmp_path / "w.npy", slow, scheduler=cluster.address, patience=4)
    assert report.satisfied


def test_a_scheduler_that_is_killed_ends_the_run(tmp_path, source):
    cluster = Cluster(tmp_path)
    cluster.add_worker()
    cluster.wait_for(1)
    try:
        with pytest.raises(ResumableError, match=r"was lost|no scheduler that answers"):
            project(source, cluster.address, cluster.scheduler.kill)
    finally:
        for process in (cluster.scheduler, *cluster.workers):
            process.kill()
            process.wait()
    out = source.with_name("out.npy")
    project_file(source, out, MaxNorm(3.0), chunk_size=2**22, resume=True, workers=1)
    assert digest(out) == digest(source.with_name("threads.npy"))


@pytest.mark.parametrize(
    ("patience", "error"), [(0, ValueError), (float("nan"), ValueError), ("1", TypeError)]
)
def test_patience_is_a_number_of_seconds(patience, error, source):
    with pytest.raises(error, match="patience must be"):
        check_file(source, MaxNorm(3.0), patience=patience)
