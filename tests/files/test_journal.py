"""A journal is judged value by value; what it names is compared, whoever has written it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat

import numpy as np
import pytest
from stored_weights import BY_NAME, FORMATS, digest, weights

from array_constraints import MaxNorm
from array_constraints.executors import grid
from array_constraints.files import planned, project_file
from array_constraints.files.delivery.journal import MARK, line_of, read_journal
from array_constraints.files.delivery.staging import Staging
from array_constraints.files.run import project

RULES = MaxNorm(9.0, axis=0)
CONTENT = "content-0123456789abcdef"


class Left:
    """What is left of a run on a target, as somebody may have forged it."""

    def __init__(self, folder):
        self.source, self.target = folder / "in.npy", folder / "out.npy"
        np.save(self.source, weights("float32"))
        project_file(self.source, folder / "right.npy", RULES)
        self.right = (folder / "right.npy").read_bytes()
        self.folder = folder / "out.npy.partial"
        with planned(self.source, RULES, to_project=True) as (plan, _):
            self.fingerprint = plan.fingerprint()

    def begun(self, content=CONTENT):
        return line_of({"begun": self.fingerprint, "content": content})

    def lay(self, *lines):
        self.folder.mkdir()
        (self.folder / "journal.jsonl").write_bytes(MARK + b"".join(lines))

    def resumed(self):
        project_file(self.source, self.target, RULES, resume=True)
        return self.target.read_bytes()


@pytest.fixture
def left(tmp_path):
    return Left(tmp_path)


def checked(text):
    return hashlib.sha256(text).hexdigest()[:16].encode() + b" " + text + b"\n"


@pytest.mark.parametrize(
    "name",
    ["../thesis.npy", "{folder}/thesis.npy", "../in.npy", "content-/../../thesis.npy", None, 3,
     "content-..", "journal.jsonl", "old", ".", "..", "", "content-\0", "content-" + 99 * "a"],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "begun"])
def test_a_journal_names_nothing_but_content_in_its_folder(name, complete, left, tmp_path):
    thesis = tmp_path / "thesis.npy"
    np.save(thesis, weights("float32", seed=1))
    before = {path: path.read_bytes() for path in (thesis, left.source)}
    name = name.format(folder=tmp_path) if isinstance(name, str) else name
    end = line_of({"complete": "0" * 64, "moved": "0" * 64})
    left.lay(left.begun(name), *([end] if complete else []))
    with pytest.raises(FileExistsError, match="not resumed: begin anew with overwrite=True"):
        left.resumed()
    assert {path: path.read_bytes() for path in before} == before
    project_file(left.source, left.target, RULES, overwrite=True)
    assert left.target.read_bytes() == left.right
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("kind", ["link", "hard link", "folder", "fifo"])
def test_content_that_is_no_file_of_its_own_is_not_written_to(kind, left, tmp_path):
    thesis = tmp_path / "thesis.npy"
    thesis.write_bytes(b"years of work")
    left.lay(left.begun())
    content = left.folder / CONTENT
    if kind == "link":
        content.symlink_to(thesis)
    elif kind == "hard link":
        content.hardlink_to(thesis)
    elif kind == "folder":
        content.mkdir()
    else:
        os.mkfifo(content)
    with pytest.raises(FileExistsError, match="not resumed: begin anew with overwrite=True"):
        left.resumed()
    project_file(left.source, left.target, RULES, overwrite=True)
    assert thesis.read_bytes() == b"years of work"
    assert left.target.read_bytes() == left.right
    assert not left.folder.exists()


@pytest.mark.parametrize(
    "lines",
    {
        "a list": [checked(b"[1]")],
        "a number": [checked(b"3")],
        "a string": [checked(b'"begun"')],
        "null": [checked(b"null")],
        "no content": [line_of({"begun": {}})],
        "more": [line_of({"begun": {}, "content": CONTENT, "also": 1})],
        "begun is a list": [line_of({"begun": [], "content": CONTENT})],
        "deep": [checked(b"[" * 100_000 + b"]" * 100_000)],
        "no JSON": [checked(b"{")],
        "no UTF-8": [checked(b"\xff")],
        "a number of many digits": [checked(b'{"done": ' + b"9" * 10_000 + b"}")],
        "done at first": [line_of({"done": []})],
        "complete at first": [line_of({"complete": "x", "moved": "x"})],
    }.items(),
    ids=lambda item: item[0],
)
def test_a_line_that_no_run_writes_is_an_error_that_says_so(lines, left):
    for options in ({"resume": True}, {}):
        left.lay(*lines[1])
        with pytest.raises(FileExistsError, match="is left from an earlier run"):
            project_file(left.source, left.target, RULES, **options)
        project_file(left.source, left.target, RULES, overwrite=True)
        assert left.target.read_bytes() == left.right
        left.target.unlink()


@pytest.mark.parametrize(
    "entry",
    [{"done": 1}, {"done": None}, {"done": [1]}, {"done": [["w", 1]]}, {"done": [["w", [[0]]]]},
     {"done": [["w", [[0, 1.5]]]]}, {"done": [["w", [[0, True]]]]}, {"done": [[1, [[0, 1]]]]},
     {"complete": True}, {"complete": True, "moved": "x"}, {"complete": "x", "moved": 1},
     {"complete": "", "moved": "x"}, {"begun": {}, "content": CONTENT}, {"other": 1}, {}],
    ids=json.dumps,
)  # fmt: skip
def test_every_value_of_a_line_is_checked(entry, left):
    left.lay(left.begun(), line_of(entry))
    with pytest.raises(FileExistsError, match="a line that no run has written"):
        left.resumed()


def test_a_line_that_was_not_written_to_its_end_is_cut_off():
    begun = line_of({"begun": {"source": []}, "content": CONTENT})
    for stop in range(len(begun)):
        found = read_journal(MARK + begun[:stop])
        assert (found.begun, found.doubt, found.length) == (None, "", len(MARK))
    done = line_of({"done": [["w", [[0, 2], [0, 3]]]]})
    found = read_journal(MARK + begun + done + done[:-1])
    assert found.done == {("w", ((0, 2), (0, 3)))}
    assert found.length == len(MARK + begun + done)


@pytest.mark.parametrize("what", ["link", "fifo", "folder", "other text"])
def test_a_journal_that_is_none_is_in_the_way(what, left, tmp_path):
    left.folder.mkdir()
    journal, thesis = left.folder / "journal.jsonl", tmp_path / "thesis.npy"
    thesis.write_bytes(MARK)
    if what == "link":
        journal.symlink_to(thesis)
    elif what == "fifo":
        os.mkfifo(journal)
    elif what == "folder":
        journal.mkdir()
    else:
        journal.write_text("years of work")
    left.folder.chmod(0o755)
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(FileExistsError, match="is in the way"):
            project_file(left.source, left.target, RULES, **options)
        with pytest.raises(FileExistsError, match="is in the way"):
            Staging(left.target).open()
    assert stat.S_IMODE(left.folder.stat().st_mode) == 0o755
    assert thesis.read_bytes() == MARK


@pytest.mark.parametrize(
    "content", [None, b"", b"short", "zeros", "ones", "longer"], ids=lambda c: str(c)
)
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "begun"])
def test_content_is_compared_before_it_is_delivered(content, complete, left):
    """It was cut short, its pages were lost, or it is something else, though all is done."""
    size = left.source.stat().st_size
    texts = {"zeros": bytes(size), "ones": b"\xff" * size, "longer": bytes(2 * size)}
    lines = [left.begun(), line_of({"done": [["in", [[0, 300], [0, 70]]]]})]
    left.lay(
        *lines, *([line_of({"complete": "0" * 64, "moved": "0" * 64})] if complete else [])
    )
    if content is not None:
        (left.folder / CONTENT).write_bytes(texts.get(content, content))
    assert left.resumed() == left.right
    assert not left.folder.exists()


@pytest.mark.parametrize(
    "name", [form.name for form in FORMATS if form.resumable and form.name != "npy"]
)
def test_whatever_was_done_to_content_the_result_is_right(name, tmp_path, monkeypatch):
    from array_constraints.files import ResumableError

    form = BY_NAME[name]
    monkeypatch.setattr(project, "_SECONDS_BETWEEN_SYNCS", 0.0)
    monkeypatch.setattr(grid, "ENTRIES_OF_TILE", 2**12)
    w = np.random.default_rng(0).standard_normal((300, 70)).astype("f4")
    arrays = {"w": w} if form.single else {"w": w, "v": w[:9], "ids": np.arange(50)}
    source, out = tmp_path / f"in{form.suffix}", tmp_path / f"out{form.suffix}"
    form.make(source, arrays)
    rules = [("*" if form.single else "*w", RULES)]
    options = {"chunk_size": 2**16, "workers": 1}
    project_file(source, tmp_path / f"right{form.suffix}", rules, **options)
    journal = tmp_path / f"{out.name}.partial" / "journal.jsonl"
    for harm in (_zeros, _cut, _gone):

        def stop(count):
            if journal.exists() and journal.read_bytes().count(b'"done"') > 1:
                raise KeyboardInterrupt

        with pytest.raises(ResumableError):
            project_file(source, out, rules, progress=stop, **options)
        (content,) = journal.parent.glob("content-*")
        for file in [content] if content.is_file() else content.rglob("*"):
            if file.is_file():
                harm(file)
        project_file(source, out, rules, resume=True, **options)
        assert digest(out) == digest(tmp_path / f"right{form.suffix}")
        project_file(source, out, rules, overwrite=True, **options)
        shutil.rmtree(out) if out.is_dir() else out.unlink()


def _zeros(file):
    file.write_bytes(bytes(file.stat().st_size))


def _cut(file):
    os.truncate(file, file.stat().st_size // 2)


def _gone(file):
    file.unlink()


def test_a_complete_result_of_another_source_is_not_delivered(tmp_path, monkeypatch):
    """The run of a stream that stopped at its last step is no result of another run."""
    np.savez(tmp_path / "in.npz", w=weights("float32"))
    np.savez(tmp_path / "other.npz", w=weights("float32", seed=1))

    def stop(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Staging, "remove", stop)
        with pytest.raises(KeyboardInterrupt):
            project_file(tmp_path / "in.npz", tmp_path / "out.npz", RULES)
    project_file(tmp_path / "other.npz", tmp_path / "out.npz", RULES, overwrite=True)
    project_file(tmp_path / "other.npz", tmp_path / "right.npz", RULES)
    assert digest(tmp_path / "out.npz") == digest(tmp_path / "right.npz")


def test_a_folder_of_staging_is_closed_to_others_and_belongs_to_who_runs(left, tmp_path):
    left.lay(left.begun())
    left.folder.chmod(0o777)
    (left.folder / CONTENT).write_bytes(b"x")
    seen = []

    def look(count):
        if left.folder.exists():
            seen.append(stat.S_IMODE(left.folder.stat().st_mode))

    project_file(left.source, left.target, RULES, resume=True, progress=look)
    assert set(seen) == {0o700}
    if os.geteuid():
        pytest.skip("only root can make folders of others")
    left.target.unlink()
    left.lay(left.begun())
    os.chown(left.folder, 12345, 12345)
    for options in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(FileExistsError, match="of another user"):
            project_file(left.source, left.target, RULES, **options)
