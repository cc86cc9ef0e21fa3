"""Memory and bytes transferred: measured in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import measure
import pytest

from array_constraints.files.run.plan import BYTES_OF_ROUNDS

SCRIPT = Path(measure.__file__)
LIMIT = "400"  # MiB, below the size of the array
ALLOWED = 1.5 * measure.CHUNK * measure.WORKERS + 64 * 2**20


def measured(run: str, path: Path, *limit: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), run, str(path), *limit]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One file of half a gibibyte, and one of a gibibyte."""
    paths = [tmp_path_factory.mktemp("limits") / f"{size}.npy" for size in (512, 1024)]
    for path in paths:
        measure.make(path, int(path.stem))
    yield paths
    for path in paths:
        path.unlink()


@pytest.mark.parametrize(("run", "reads"), [("max-norm", 2), ("rows", 1), ("non-neg", 1)])
def test_memory_is_that_of_the_chunks_and_every_byte_is_moved_once_or_read_twice(
    run, reads, files
):
    peaks = []
    for path in files:
        result = measured(run, path, LIMIT)
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        assert found["peak"] <= ALLOWED
        assert reads <= found["read"] <= 1.025 * reads  # /proc is read by the measurement, too
        assert 1 <= found["written"] <= 1.0001  # the journal
        peaks.append(found["peak"])
    assert abs(peaks[1] - peaks[0]) < 8 * 2**20


def test_rounds_of_measuring_take_more_memory_and_few_reads(tmp_path):
    path = tmp_path / "96.npy"
    measure.make(path, 96)
    found = json.loads(measured("sparse", path).stdout)
    assert found["peak"] <= ALLOWED + BYTES_OF_ROUNDS * (measure.WORKERS + 1)
    assert 3 <= found["read"] <= 4.2


def test_a_file_of_torch_is_read_twice_more_for_its_checksums(tmp_path):
    """That of what is read is compared, and that of what was written is computed."""
    pytest.importorskip("torch")
    path = tmp_path / "512.pt"
    measure.make_checkpoint(path, 512)
    result = measured("max-norm", path, LIMIT)
    path.unlink()
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["peak"] <= ALLOWED
    assert 4 <= found["read"] <= 4.1
    assert 1 <= found["written"] <= 1.0001


def test_the_plain_expression_does_not_fit(files):
    """The control: the limit is one that whole arrays do not keep."""
    result = measured("naive", files[1], LIMIT)
    assert result.returncode != 0
    assert "Memory" in result.stderr
