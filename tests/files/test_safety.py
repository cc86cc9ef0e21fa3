"""Nothing is lost: what exists, what is shared, what is left of a run that stopped."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from stored_weights import BY_NAME, digest, weights

from array_constraints import MaxNorm, NonNeg
from array_constraints.files import project_file
from array_constraints.files.staging import Staging


@pytest.fixture
def path(tmp_path):
    np.save(tmp_path / "w.npy", weights("float32"))
    return tmp_path / "w.npy"


def test_two_runs_do_not_write_to_the_same_place(path, tmp_path):
    other = Staging(tmp_path / "out.npy")
    other.open()
    try:
        with pytest.raises(BlockingIOError, match="another run is at work"):
            project_file(path, tmp_path / "out.npy", NonNeg())
    finally:
        other.close()
    assert project_file(path, tmp_path / "out.npy", NonNeg()).tensors


def test_a_link_to_the_source_is_the_source(path, tmp_path):
    (tmp_path / "link.npy").symlink_to(path)
    for target in ("w.npy", "link.npy"):
        with pytest.raises(ValueError, match="never written to"):
            project_file(path, tmp_path / target, NonNeg(), overwrite=True)


def test_a_target_inside_of_the_source_is_refused(tmp_path):
    BY_NAME["zarr-3"].make(tmp_path / "in.zarr", {"w": weights("float32")})
    for target in (tmp_path / "in.zarr" / "out.zarr", tmp_path):
        with pytest.raises(ValueError, match="never written to"):
            project_file(tmp_path / "in.zarr", target, [("w", NonNeg())], overwrite=True)


@pytest.mark.parametrize("name", ["shards", "zarr-3"])
def test_a_folder_that_holds_anything_else_is_not_overwritten(name, tmp_path):
    form, out = BY_NAME[name], tmp_path / "thesis"
    form.make(tmp_path / "in", {"w": weights("float32"), "v": weights("float32")})
    out.mkdir()
    (out / "chapter.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="not a folder of weights"):
        project_file(tmp_path / "in", out, [("*w", NonNeg())], overwrite=True)
    assert (out / "chapter.tex").read_text() == "years of work"
    assert project_file(tmp_path / "in", tmp_path / "ok", [("*w", NonNeg())]).tensors
    assert project_file(tmp_path / "in", tmp_path / "ok", [("*w", NonNeg())], overwrite=True)


def test_a_folder_is_not_overwritten_by_a_file(path, tmp_path):
    (tmp_path / "out.npy").mkdir()
    with pytest.raises(FileExistsError, match="not a regular file"):
        project_file(path, tmp_path / "out.npy", NonNeg(), overwrite=True)


def test_without_room_nothing_is_read_or_written(tmp_path):
    path, out = tmp_path / "sparse.npy", tmp_path / "out.npy"
    shape = (2**28, 2**12)
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        try:
            file.truncate(file.tell() + 4 * 2**40)
        except OSError:
            pytest.skip("the file system has no files of 4 TiB")
    with pytest.raises(OSError, match="are free") as caught:
        project_file(path, out, NonNeg(), chunk_size=2**30)
    assert caught.value.errno == errno.ENOSPC
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sparse.npy"]


LIMITED = """
import resource, sys
from array_constraints import MaxNorm
from array_constraints.files import project_file
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
project_file(sys.argv[1], sys.argv[2], [("*w", MaxNorm(9.0))])
"""


@pytest.mark.parametrize("name", ["safetensors", "npz", "hdf5", "hdf5-gzip", "zarr-3", "keras"])
def test_a_file_system_that_takes_no_more_gives_a_clear_error_and_no_half_file(name, tmp_path):
    form = BY_NAME[name]
    path, out = tmp_path / f"in{form.suffix}", tmp_path / f"out{form.suffix}"
    form.make(
        path, {"w": np.random.default_rng(0).standard_normal((300, 200)), "v": np.ones(3)}
    )
    before = digest(path)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIMITED, str(path), str(out), "5000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "File too large" in run.stderr
    assert not out.exists()
    assert digest(path) == before
    assert project_file(path, out, [("*w", MaxNorm(9.0))], resume=True).satisfied


def test_a_source_that_changed_is_not_continued(path, tmp_path):
    out = tmp_path / "out.npy"
    staging = Staging(out)
    staging.open()
    staging.begin({"version": 1, "source": [[str(path), 1, 2]], "rules": []})
    staging.close()
    with pytest.raises(FileExistsError, match="resume it, or overwrite it"):
        project_file(path, out, NonNeg())
    with pytest.raises(FileExistsError, match="of another source"):
        project_file(path, out, NonNeg(), resume=True)
    assert project_file(path, out, NonNeg(), overwrite=True).tensors
    assert not staging.folder.exists()


def test_a_source_that_becomes_shorter_is_an_error(path, tmp_path):
    from array_constraints.files import open_weights

    (tensor,) = open_weights(path).tensors.values()
    os.truncate(path, 1000)
    with pytest.raises(ValueError, match="became shorter"):
        tensor.read((slice(0, 300), slice(0, 70)))


def test_an_error_of_a_file_is_the_same_in_another_process():
    import pickle

    from array_constraints.files.stored import DamagedFileError

    error = DamagedFileError("w.npy", "is cut off")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (DamagedFileError, "w.npy: is cut off")


class Squared:
    """A constraint as in Keras: a callable on whole arrays."""

    def __call__(self, w):
        return w * w


def test_any_callable_is_run_on_the_whole_array_if_that_fits(path, tmp_path):
    w = np.load(path)
    project_file(path, tmp_path / "out.npy", Squared())
    assert np.load(tmp_path / "out.npy").tobytes() == (w * w).tobytes()
    long = tmp_path / "long.npy"
    np.save(long, np.ones((300, 1000), "f4"))
    with pytest.raises(ValueError, match="raise the chunk size"):
        project_file(long, tmp_path / "out2.npy", Squared(), chunk_size=2**16)
    assert not (tmp_path / "out2.npy").exists()


def test_a_callable_that_changes_the_shape_is_refused(path, tmp_path):
    with pytest.raises(Exception, match="returned shape"):
        project_file(path, tmp_path / "out.npy", lambda w: w[:2])
    assert not (tmp_path / "out.npy").exists()


def test_whole_slices_are_constrained_in_regions(tmp_path):
    from array_constraints import RadialConstraint

    w = np.random.default_rng(0).standard_normal((3, 3, 70, 200)).astype("f4")
    np.save(tmp_path / "w.npy", w)
    project_file(tmp_path / "w.npy", tmp_path / "out.npy", RadialConstraint(), chunk_size=2**18)
    assert np.load(tmp_path / "out.npy").tobytes() == RadialConstraint()(w).tobytes()


def test_each_slice_has_its_own_radius_however_the_array_is_cut(tmp_path):
    radii = np.random.default_rng(1).uniform(5, 40, (4, 900))
    w = np.random.default_rng(0).standard_normal((4, 700, 900)).astype("f4")
    np.save(tmp_path / "w.npy", w)
    constraint = MaxNorm(tuple(radii.reshape(-1)), axis=1)
    for chunk_size in (2**18, 2**26):
        options = {"chunk_size": chunk_size, "overwrite": True}
        report = project_file(tmp_path / "w.npy", tmp_path / "out.npy", constraint, **options)
        assert report.satisfied
        found = np.load(tmp_path / "out.npy")
        np.testing.assert_allclose(found, constraint(w), rtol=1e-5)
