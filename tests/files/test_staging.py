"""Runs on the same target at the same time, and what one has done when another comes by."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kill import child
from stored_weights import BY_NAME, FORMATS, digest, weights

from array_constraints import NonNeg
from array_constraints.files import ResumableError, project_file
from array_constraints.files.delivery import locking, renames, replace, staging
from array_constraints.files.delivery.staging import Staging

SCRIPT = Path(__file__).with_name("stress.py")
SECONDS = float(os.environ.get("STRESS_SECONDS", "2"))


@pytest.fixture(params=["renameat2", "without"])
def system(request, monkeypatch):
    """The renames of the system; and what is left where it has no more than POSIX."""
    if request.param == "without":
        monkeypatch.setattr(renames, "_system_call", lambda: None)
    return request.param


@pytest.mark.parametrize(
    ("form", "how"),
    [
        ("npy", ()),
        ("shards", ()),
        ("zarr-3", ()),
        ("npy", ("without",)),
        ("shards", ("without",)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_eight_processes_on_one_target_never_leave_or_show_a_wrong_one(form, how, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), form, str(SECONDS), "1", *how],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": "", "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["endings"]["complete"]


def test_the_lock_of_a_journal_that_is_gone_is_no_lock(tmp_path, monkeypatch):
    """Another run ends, and a third begins, between opening a journal and locking it."""
    first, second, third = (Staging(tmp_path / "out.npy") for _ in range(3))
    first.open()
    first.begin({"first": 1})

    class Late:
        LOCK_EX, LOCK_NB, LOCK_UN = fcntl.LOCK_EX, fcntl.LOCK_NB, fcntl.LOCK_UN

        @staticmethod
        def flock(descriptor, how):
            monkeypatch.setattr(locking, "fcntl", fcntl)
            first.remove()
            third.open()
            third.begin({"third": 3})
            fcntl.flock(descriptor, how)

    monkeypatch.setattr(locking, "fcntl", Late)
    with pytest.raises(BlockingIOError, match="another run is at work there"):
        second.open()
    assert second.begun is None
    third.close()
    second.open()
    assert second.begun == {"third": 3}
    assert second.content == third.content
    second.remove()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_another_run_is_just_making_or_removing_is_no_error(tmp_path):
    for _ in range(2):
        (tmp_path / "out.npy.partial").mkdir()  # and no journal yet
        one = Staging(tmp_path / "out.npy")
        assert not one.open(make=False)
        assert one.open()
        (one.folder / "notes.txt").write_text("kept")
        one.remove()  # what is not of a run stays
        assert (one.folder / "notes.txt").read_text() == "kept"
        (one.folder / "notes.txt").unlink()
        one.folder.rmdir()


def test_to_look_changes_nothing(tmp_path):
    one = Staging(tmp_path / "out.npy")
    assert not one.open(make=False)
    assert not list(tmp_path.iterdir())
    one.open()
    one.begin({"source": []})
    one.close()
    torn = one.journal.read_bytes() + b"0123 {"
    one.journal.write_bytes(torn)
    other = Staging(tmp_path / "out.npy")
    assert other.open(make=False)
    other.close()
    assert one.journal.read_bytes() == torn


def test_a_lock_goes_with_its_run_though_a_child_has_it_open(tmp_path):
    one = Staging(tmp_path / "out.npy")
    one.open()
    one.begin({"source": []})
    pid = child(signal.pause)
    try:
        one.close()
        assert Staging(tmp_path / "out.npy").open()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def appears(kind, target):
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        target.symlink_to("nowhere")
    else:
        target.mkdir()
        if kind == "folder":
            (target / "mine").write_text("mine")


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("kind", ["file", "folder", "empty folder", "link"])
@pytest.mark.parametrize("name", ["npy", "npz", "shards", "zarr-3"])
def test_what_appears_at_the_last_moment_is_kept(name, kind, tmp_path, monkeypatch):
    form = BY_NAME[name]
    source, out = tmp_path / f"in{form.suffix}", tmp_path / f"out{form.suffix}"
    form.make(source, {"w": weights("float32")})
    real = staging.deliver

    def late(*arguments):
        appears(kind, out)
        real(*arguments)

    monkeypatch.setattr(staging, "deliver", late)
    with pytest.raises((ResumableError, FileExistsError), match="exists by now"):
        project_file(source, out, NonNeg())
    assert out.is_symlink() == (kind == "link")
    assert out.is_dir() == ("folder" in kind)
    if kind in ("file", "folder"):
        assert (out if kind == "file" else out / "mine").read_text() == "mine"
    out.rename(tmp_path / "mine")
    monkeypatch.undo()
    project_file(source, out, NonNeg(), resume=True)
    assert not out.with_name(out.name + ".partial").exists()


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("name", ["shards", "zarr-3"])
def test_what_appears_in_a_folder_that_is_overwritten_is_kept(name, tmp_path):
    form, out = BY_NAME[name], tmp_path / "out"
    form.make(tmp_path / "in", {"w": weights("float32")})
    project_file(tmp_path / "in", out, NonNeg())
    before = digest(out)

    def appear(count):
        (out / "chapter.tex").write_text("years of work")

    with pytest.raises(ResumableError, match=r"holds chapter\.tex"):
        project_file(tmp_path / "in", out, NonNeg(), overwrite=True, progress=appear)
    assert (out / "chapter.tex").read_text() == "years of work"
    (out / "chapter.tex").unlink()
    assert digest(out) == before
    project_file(tmp_path / "in", out, NonNeg(), resume=True, overwrite=True)
    assert digest(out) == before


def test_what_has_changed_places_is_checked_before_it_is_removed(tmp_path):
    made, target = tmp_path / "content-1", tmp_path / "out"
    made.mkdir()
    target.mkdir()
    (target / "thesis").write_text("years of work")
    checked = []

    def check(path):
        checked.append(path)
        if path == made:
            raise FileExistsError("not to be replaced")

    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError, match="not to be replaced"):
            replace.deliver(folder, made, target, check)
    finally:
        os.close(folder)
    assert checked == [target, made]
    assert (target / "thesis").read_text() == "years of work"
    assert made.is_dir()


@pytest.mark.usefixtures("system")
def test_renames_never_replace(tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        for make in (lambda p: p.write_text("new"), lambda p: p.mkdir()):
            make(tmp_path / "new")
            for kind in ("file", "folder", "empty folder", "link"):
                appears(kind, tmp_path / "there")
                before = os.lstat(tmp_path / "there").st_ino
                with pytest.raises(FileExistsError):
                    renames.rename_new(folder, "new", tmp_path / "there")
                assert os.lstat(tmp_path / "there").st_ino == before
                (tmp_path / "there").rename(tmp_path / f"{kind}{before}")
            inode = os.lstat(tmp_path / "new").st_ino
            renames.rename_new(folder, "new", tmp_path / "there")
            assert os.lstat(tmp_path / "there").st_ino == inode
            assert not os.path.lexists(tmp_path / "new")
            (tmp_path / "there").rename(tmp_path / f"moved{inode}")
        with pytest.raises(FileNotFoundError):
            renames.rename_new(folder, "new", tmp_path / "there")
    finally:
        os.close(folder)


def test_a_run_that_resumes_replaces_nothing_that_has_appeared(tmp_path, monkeypatch):
    """What is complete is delivered by the next run, but not over what is there by then."""
    source, out = tmp_path / "w.npy", tmp_path / "out.npy"
    np.save(source, weights("float32"))

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(staging, "deliver", stop)
    with pytest.raises(ResumableError):
        project_file(source, out, NonNeg())
    monkeypatch.undo()
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        project_file(source, out, NonNeg(), resume=True)
    assert out.read_text() == "mine"
    project_file(source, out, NonNeg(), resume=True, overwrite=True)
    np.testing.assert_array_equal(np.load(out), NonNeg()(np.load(source)))


def test_resume_and_overwrite_continue_what_can_be_and_else_begin_anew(tmp_path):
    source, out = tmp_path / "w.npy", tmp_path / "out.npy"
    np.save(source, weights("float32"))
    out.write_bytes(b"old")
    left = Staging(out)
    left.open()
    left.begin({"source": "another"})
    left.close()
    with pytest.raises(FileExistsError, match="of another source"):
        project_file(source, out, NonNeg(), resume=True)
    project_file(source, out, NonNeg(), resume=True, overwrite=True)
    np.testing.assert_array_equal(np.load(out), NonNeg()(np.load(source)))


@pytest.mark.parametrize("method", ["deliver", "remove"])
@pytest.mark.parametrize("name", [form.name for form in FORMATS if form.resumable])
def test_what_was_complete_is_reported_before_another_run_may_replace_it(
    name, method, tmp_path, monkeypatch
):
    form = BY_NAME[name]
    source, out = tmp_path / f"in{form.suffix}", tmp_path / f"out{form.suffix}"
    form.make(source, {"w": weights("float32")})
    expected = project_file(source, tmp_path / f"right{form.suffix}", NonNeg())
    real = Staging.remove

    def stop(*arguments):
        raise KeyboardInterrupt

    def late(self):
        real(self)
        out.rename(tmp_path / "delivered")

    with monkeypatch.context() as patched:
        patched.setattr(staging if method == "deliver" else Staging, method, stop)
        with pytest.raises(ResumableError):
            project_file(source, out, NonNeg())
    monkeypatch.setattr(Staging, "remove", late)
    assert project_file(source, out, NonNeg(), resume=True) == expected
    assert digest(tmp_path / "delivered") == digest(tmp_path / f"right{form.suffix}")
