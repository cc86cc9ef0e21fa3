"""A source is told by what it is: it is never replaced, and never mixed with another."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from stored_weights import BY_NAME, digest

from array_constraints import (
    Constraint,
    Elementwise,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    Sparse,
    UnitNorm,
)
from array_constraints.constraint import Constraint as Base
from array_constraints.executors import grid
from array_constraints.files import ResumableError, planned, project_file
from array_constraints.files.run import project
from array_constraints.sets.norms import Interval, NormConstraint

OPTIONS = {"chunk_size": 2**16, "workers": 1}
W = np.random.default_rng(0).standard_normal((300, 70)).astype("f4")

MOUNTED = """
import json, os, shutil, subprocess, sys
from pathlib import Path
from stored_weights import BY_NAME, digest
import numpy as np
from array_constraints import MaxNorm
from array_constraints.files import project_file

here = Path(sys.argv[1])
os.chdir(here)
for place in ("data", "mnt", "part", "group"):
    Path(place).mkdir()
arrays = {"w": np.full((50, 40), 5, "f4"), "v": np.full((5, 4), 5, "f4")}
for name in ("npy", "shards", "zarr-2", "zarr-3", "npz", "hdf5-gzip"):
    form = BY_NAME[name]
    form.make(Path("data", "in-" + name + form.suffix), arrays)
Path("one.npy").touch()
binds = {"data": "mnt", "data/in-zarr-3.zarr/w": "part", "data/in-npy.npy": "one.npy"}
for old, new in binds.items():
    subprocess.run(["mount", "--bind", old, new], check=True)
before = digest(Path("data"))
cases = [(f"data/{p.name}", f"mnt/{p.name}") for p in sorted(Path("data").iterdir())]
cases += [(new, old) for old, new in cases]
cases += [
    ("data/in-zarr-3.zarr", "mnt/in-zarr-3.zarr/inner.zarr"),  # inside of the source
    ("data/in-zarr-3.zarr", "part/inner.zarr"),
    ("data/in-zarr-3.zarr", "part"),
    ("part", "data/in-zarr-3.zarr"),  # the source inside of it
    ("part", "mnt/in-zarr-3.zarr"),
    ("data/in-npy.npy", "one.npy"),
    ("one.npy", "data/in-npy.npy"),
]
found = {}
for source, target in cases:
    try:
        project_file(source, target, [("*", MaxNorm(1.0))], overwrite=True)
        found[f"{source} to {target}"] = "done"
    except Exception as error:
        found[f"{source} to {target}"] = f"{type(error).__name__}: {error}"
changed = digest(Path("data")) != before
project_file("data/in-npy.npy", "mnt/out.npy", MaxNorm(1.0))
print(json.dumps({"changed": changed, "found": found, "made": Path("data/out.npy").exists()}))
"""


def test_a_source_that_is_mounted_a_second_time_is_the_source(tmp_path):
    alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*alone, "true"], check=False).returncode
    ):
        pytest.skip("the system lets nobody mount")
    done = subprocess.run(
        [*alone, sys.executable, "-W", "error", "-c", MOUNTED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert not said["changed"]
    assert said["made"]
    for case, text in said["found"].items():
        assert "where the source does, which is never written to" in text, (case, text)


def test_links_lead_to_the_source_whatever_they_are_called(tmp_path):
    form = BY_NAME["shards"]
    form.make(tmp_path / "in", {"w": W, "v": W})
    (tmp_path / "also").symlink_to("in")
    before = digest(tmp_path / "in")
    for source, target in (
        ("in", "also"),
        ("also", "in"),
        ("also", "in/out"),
        ("in", "also/out"),
    ):
        with pytest.raises(ValueError, match="never written to"):
            project_file(tmp_path / source, tmp_path / target, NonNeg(), overwrite=True)
    np.save(tmp_path / "w.npy", W)
    (tmp_path / "hard.npy").hardlink_to(tmp_path / "w.npy")
    with pytest.raises(ValueError, match="never written to"):
        project_file(tmp_path / "w.npy", tmp_path / "hard.npy", NonNeg(), overwrite=True)
    assert digest(tmp_path / "in") == before


# --- resuming ---------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """Return a function that begins a run and stops it when a part is on the disk."""
    monkeypatch.setattr(project, "_SECONDS_BETWEEN_SYNCS", 0.0)
    monkeypatch.setattr(grid, "ENTRIES_OF_TILE", 2**12)

    def stop(source, target, rules):
        journal = target.with_name(target.name + ".partial") / "journal.jsonl"

        def progress(count):
            if journal.exists() and journal.read_bytes().count(b'"done"'):
                raise KeyboardInterrupt

        with pytest.raises(ResumableError):
            project_file(source, target, rules, progress=progress, **OPTIONS)

    return stop


def _rewritten(file: Path) -> None:
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(-400, os.SEEK_END)
        opened.write(bytes(400))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(file: Path) -> None:
    before = file.stat()
    other = file.with_name("other")
    shutil.copyfile(file, other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


def _closed(file: Path) -> None:
    file.chmod(0o600)


def _gone(file: Path) -> None:
    file.unlink()


def _joined(file: Path) -> None:
    shutil.copyfile(file, file.with_name(file.name + "0"))


@pytest.mark.parametrize("change", [_rewritten, _replaced, _closed], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["npy", "safetensors", "shards", "hdf5", "keras", "zarr-3"])
def test_a_source_that_was_changed_is_not_continued(name, change, stopped, tmp_path):
    form = BY_NAME[name]
    source, out = tmp_path / f"in{form.suffix}", tmp_path / f"out{form.suffix}"
    form.make(source, {"w": W} if form.single else {"w": W, "v": W})
    rules = [("*", MaxNorm(9.0, axis=0))]
    stopped(source, out, rules)
    files = sorted(p for p in [source, *source.rglob("*")] if p.is_file())
    file = next((p for p in files if p.suffix in (".safetensors", "")), files[0])
    if change is _rewritten and name == "keras":
        pytest.skip("its checksum would be wrong")
    if change is _rewritten and name == "zarr-3":
        file.write_bytes((file.parents[3] / "v/c/1/1").read_bytes())
    else:
        change(file)
    with pytest.raises(FileExistsError, match="of another source, or of one that was changed"):
        project_file(source, out, rules, resume=True, **OPTIONS)
    project_file(source, out, rules, resume=True, overwrite=True, **OPTIONS)
    project_file(source, tmp_path / f"right{form.suffix}", rules, **OPTIONS)
    assert digest(out) == digest(tmp_path / f"right{form.suffix}")


@pytest.mark.parametrize("change", [_gone, _joined], ids=lambda f: f.__name__)
def test_a_zarr_that_gains_or_loses_a_chunk_is_another_source(change, stopped, tmp_path):
    source, out = tmp_path / "in.zarr", tmp_path / "out.zarr"
    BY_NAME["zarr-3"].make(source, {"w": W, "v": W})
    rules = [("w", MaxNorm(9.0, axis=0))]
    chunk = source / "v" / "c" / "1" / "1"

    def progress(count):
        if chunk.exists() and not Path(str(chunk) + "0").exists():
            change(chunk)

    with pytest.raises((ValueError, FileNotFoundError), match=r"has changed while|v/c/1/1"):
        project_file(source, out, rules, progress=progress, **OPTIONS)
    assert [p.name for p in tmp_path.iterdir()] == ["in.zarr"]
    shutil.rmtree(source)
    BY_NAME["zarr-3"].make(source, {"w": W, "v": W})
    stopped(source, out, rules)
    change(chunk)
    with pytest.raises(FileExistsError, match="of another source, or of one that was changed"):
        project_file(source, out, rules, resume=True, **OPTIONS)


def test_a_source_that_is_rewritten_while_it_is_read_gives_no_result(tmp_path):
    source, out = tmp_path / "w.npy", tmp_path / "out.npy"
    np.save(source, W)
    calls = iter([_rewritten])

    def progress(count):
        for change in calls:
            change(source)

    with pytest.raises(ValueError, match="has changed while it was read"):
        project_file(source, out, NonNeg(), progress=progress)
    assert [p.name for p in tmp_path.iterdir()] == ["w.npy"]


def test_a_source_that_changes_between_a_plan_and_its_run_gives_no_result(tmp_path):
    source, out = tmp_path / "in.zarr", tmp_path / "out.zarr"
    BY_NAME["zarr-3"].make(source, {"w": W, "v": W})
    for change, chunk in ((_gone, "0"), (_joined, "1")):
        with planned(source, [("w", NonNeg())], to_project=True) as (plan, crew):
            change(source / "v" / "c" / "0" / chunk)
            with pytest.raises((ValueError, OSError)):
                project.project(plan, out, crew, lambda count: None)
        assert [p.name for p in tmp_path.iterdir()] == ["in.zarr"]


# --- constraints ------------------------------------------------------------------------------

RADIUS = 1.0


class Above(Elementwise):
    """A form whose attribute is not in its config."""

    least = 0.0

    def project(self, w, xp):
        return xp.where(w < self.least, xp.full_like(w, self.least), w)

    def excess(self, w, xp):
        return xp.where(w < self.least, self.least - w, xp.zeros_like(w))


@dataclass(frozen=True)
class Scheduled(NormConstraint):
    """A rescaling whose field is an object with state."""

    schedule: object
    axis: int = 0

    def interval(self):
        return Interval(0.0, self.schedule[0])


@dataclass(frozen=True)
class Global(NormConstraint):
    """A rescaling that follows a global."""

    axis: int = 0

    def interval(self):
        return Interval(0.0, RADIUS)


class AsInKeras(Base):
    """A subclass as in Keras, without get_config."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, w):
        return w * self.rate


class Scale:
    """A callable object."""

    def __init__(self, k):
        self.k = k

    def __call__(self, w):
        return w * self.k

    def get_config(self):
        return {}


class Doubled(float):
    """A number that is not what it says."""


def scaled(k):
    def scale(w):
        return w * k

    return scale


def with_attribute(constraint, name, value):
    object.__setattr__(constraint, name, value)
    return constraint


def named_as_ours():
    class MaxNorm(Base):
        def __call__(self, w):
            return w * RADIUS

    return MaxNorm()


@pytest.mark.parametrize(
    "constraint",
    {
        "lambda": lambda w: w * 2,
        "closure": scaled(2),
        "partial": functools.partial(np.multiply, 2),
        "callable": Scale(2),
        "ufunc": np.abs,
        "attribute": Above(),
        "schedule": Scheduled([1.0]),
        "global": Global(),
        "Keras": AsInKeras(2),
        "method that shadows": with_attribute(MaxNorm(1.0), "interval", lambda: None),
        "further attribute": with_attribute(NonNeg(), "least", 3.0),
        "field that is an object": with_attribute(MaxNorm(1.0), "max_value", Doubled(3.0)),
        "name of ours": named_as_ours(),
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
def test_what_cannot_be_compared_is_not_resumed(constraint, tmp_path):
    source, out = tmp_path / "w.npy", tmp_path / "out.npy"
    np.save(source, W)
    rules = [("w", constraint[1])]
    with planned(source, rules, to_project=True) as (plan, _):
        assert not plan.resumable
        assert "'w'" in plan.why_not_resumable

    def stop(count):
        raise KeyboardInterrupt

    if constraint[0] not in ("Keras", "ufunc", "partial", "field that is an object"):
        with pytest.raises(KeyboardInterrupt):
            project_file(source, out, rules, progress=stop)
        assert [p.name for p in tmp_path.iterdir()] == ["w.npy"]


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint(),
        NonNeg(),
        UnitNorm(axis=None),
        MaxNorm(2),
        MaxNorm((1.0,) * 70),
        MaxNorm(np.inf),
        MinMaxNorm(0.5, np.float32(1.0), 0.9, axis=(0, 1)),
        Sparse(2),
        "max_norm",
    ],
    ids=lambda constraint: str(constraint)[:20].partition(" ")[0],
)
def test_constraints_whose_fields_say_all_are_resumed(constraint, tmp_path):
    np.save(tmp_path / "w.npy", W)
    with planned(tmp_path / "w.npy", constraint, to_project=True) as (plan, _):
        assert plan.resumable
        assert plan.why_not_resumable == ""


def test_what_is_left_is_not_continued_by_what_cannot_be_compared(stopped, tmp_path):
    source, out = tmp_path / "w.npy", tmp_path / "out.npy"
    np.save(source, W)
    stopped(source, out, MaxNorm(9.0, axis=0))
    for rules in (lambda w: w * 2, Above()):
        with pytest.raises(FileExistsError, match=r"code of one's own.* is not resumed"):
            project_file(source, out, rules, resume=True)
    for rules in (MaxNorm(9.5, axis=0), MaxNorm(9.0, axis=1), NonNeg(), [("w*", MaxNorm(9.0))]):
        with pytest.raises(FileExistsError, match="with other constraints"):
            project_file(source, out, rules, resume=True)
    project_file(source, out, MaxNorm(9, axis=0), resume=True)
    project_file(source, tmp_path / "right.npy", MaxNorm(9.0, axis=0))
    assert digest(out) == digest(tmp_path / "right.npy")


def test_a_part_that_another_version_has_left_is_not_continued(stopped, tmp_path, monkeypatch):
    import array_constraints

    np.save(tmp_path / "w.npy", W)
    stopped(tmp_path / "w.npy", tmp_path / "out.npy", MaxNorm(9.0))
    monkeypatch.setattr(array_constraints, "__version__", "another")
    with pytest.raises(FileExistsError, match="begin anew with overwrite=True"):
        project_file(tmp_path / "w.npy", tmp_path / "out.npy", MaxNorm(9.0), resume=True)
