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
from array_constraints.files.delivery.staging import Staging


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
    with pytest.raises(FileExistsError, match=r"holds (chapter\.tex|thesis), "):
        project_file(tmp_path / "in", out, [("*w", NonNeg())], overwrite=True)
    assert (out / "chapter.tex").read_text() == "years of work"
    assert project_file(tmp_path / "in", tmp_path / "ok", [("*w", NonNeg())]).tensors
    assert project_file(tmp_path / "in", tmp_path / "ok", [("*w", NonNeg())], overwrite=True)
    (tmp_path / "ok" / "notes.txt").write_text("kept")
    with pytest.raises(FileExistsError, match=r"holds notes\.txt, "):
        project_file(tmp_path / "in", tmp_path / "ok", [("*w", NonNeg())], overwrite=True)
    assert (tmp_path / "ok" / "notes.txt").read_text() == "kept"


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
        [sys.executable, "-B", "-W", "error", "-c", LIMITED, str(path), str(out), "5000"],
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
    staging.begin({"source": [[str(path), 1, 2]], "rules": []})
    staging.close()
    with pytest.raises(FileExistsError, match="go on with resume=True, or begin anew"):
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

    from array_constraints.files import DamagedFileError

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
    with pytest.raises(ValueError, match="raise chunk_size"):
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


def test_a_folder_of_that_name_that_no_run_has_left_is_not_touched(path, tmp_path):
    folder = tmp_path / "out.npy.partial"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(FileExistsError, match="in the way"):
            project_file(path, tmp_path / "out.npy", NonNeg(), **options)
    assert (folder / "thesis.tex").read_text() == "years of work"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="in the way"):
        project_file(path, tmp_path / "out.npy", NonNeg())


def test_a_source_with_the_name_of_the_staging_folder_is_not_touched(tmp_path):
    form = BY_NAME["shards"]
    form.make(tmp_path / "ckpt.partial", {"w": weights("float32"), "v": weights("float32")})
    before = digest(tmp_path / "ckpt.partial")
    with pytest.raises(ValueError, match="never written to"):
        project_file(tmp_path / "ckpt.partial", tmp_path / "ckpt", NonNeg(), overwrite=True)
    assert digest(tmp_path / "ckpt.partial") == before


def test_a_target_that_appears_while_a_run_is_at_work_is_kept(path, tmp_path):
    from array_constraints.files import ResumableError

    out = tmp_path / "out.npy"
    with pytest.raises(ResumableError, match="exists by now"):
        project_file(path, out, NonNeg(), progress=lambda count: out.write_text("mine"))
    assert out.read_text() == "mine"
    out.unlink()
    assert project_file(path, out, NonNeg(), resume=True).tensors[0].after.slices == 21_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.npy", "w.npy"]


def test_a_source_that_changes_while_it_is_read_gives_no_result(path, tmp_path):
    with pytest.raises(ValueError, match="has changed while it was read"):
        project_file(path, tmp_path / "o.npy", NonNeg(), progress=lambda count: os.utime(path))
    assert [p.name for p in tmp_path.iterdir()] == ["w.npy"]


def test_a_run_that_is_stopped_after_the_last_step_is_completed(path, tmp_path, monkeypatch):
    from array_constraints.files import ResumableError

    out = tmp_path / "out.npy"

    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Staging, "remove", stop)
    with pytest.raises(ResumableError, match="stopped"):
        project_file(path, out, MaxNorm(5.0, axis=0))
    monkeypatch.undo()
    complete = digest(out)
    report = project_file(path, out, MaxNorm(5.0, axis=0), resume=True)
    assert digest(out) == complete
    assert report == project_file(path, tmp_path / "other.npy", MaxNorm(5.0, axis=0))
    assert not (tmp_path / "out.npy.partial").exists()


def test_an_older_folder_comes_back_if_a_run_stopped_before_the_new_one_was_there(tmp_path):
    form, out = BY_NAME["zarr-3"], tmp_path / "out.zarr"
    form.make(tmp_path / "in.zarr", {"w": weights("float32")})
    form.make(out, {"w": weights("float32", seed=1)})
    before, staging = digest(out), Staging(out)
    staging.open()
    out.rename(staging.old)
    staging.clear()
    assert digest(out) == before
    staging.close()


def test_a_callable_that_writes_to_its_argument_is_not_believed(path, tmp_path):
    def in_place(w):
        return np.maximum(w, 0, out=w)

    from array_constraints.files import check_file

    negative = int((np.load(path) < 0).sum()) + 1  # and the NaN
    assert check_file(path, in_place).tensors[0].before.violating == negative
    (tensor,) = project_file(path, tmp_path / "out.npy", in_place).tensors
    assert (tensor.before.violating, tensor.after.violating) == (negative, 1)


@pytest.mark.parametrize(("axis", "passes"), [(0, 2), (1, 2)])
def test_wide_arrays_in_chunks_are_cut_to_the_chunk_size(axis, passes, tmp_path):
    import zarr

    from array_constraints.files import planned

    options = {"shape": (4000, 250_000), "chunks": (1000, 1000), "dtype": "f4"}
    zarr.create_array(tmp_path / "w.zarr", **options)
    with planned(tmp_path / "w.zarr", MaxNorm(1.0, axis=axis), to_project=True) as (plan, _):
        (item,) = plan.items
    assert item.bytes_of_region <= 2**26
    assert item.passes <= passes
