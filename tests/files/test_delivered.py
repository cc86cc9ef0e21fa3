"""What was delivered or replaced at the very end of a run; and files that readers read."""

from __future__ import annotations

import os
import shutil
import struct
import zipfile

import numpy as np
import pytest
import zarr
from kill import child

from array_constraints import MaxNorm
from array_constraints.files import DamagedFileError, check_file, open_weights, project_file
from array_constraints.files.delivery.staging import Staging

W = np.full((4, 3), 5.0, "float32")
RULE = MaxNorm(1.0)


def stopped_after_the_rename(source, out, **options):
    def run():
        Staging.remove = lambda self: os._exit(9)
        project_file(source, out, RULE, **options)

    _, status = os.waitpid(child(run), 0)
    assert os.waitstatus_to_exitcode(status) == 9
    assert out.with_name(f"{out.name}.partial").exists()


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_what_was_delivered_is_taken_for_it(kind, tmp_path):
    source, out = saved(kind, tmp_path / f"in.{kind}"), tmp_path / f"out.{kind}"
    stopped_after_the_rename(source, out)
    assert project_file(source, out, RULE, resume=True).satisfied
    assert not out.with_name(f"{out.name}.partial").exists()
    assert check_file(out, RULE).satisfied


def saved(kind, path):
    if kind == "npy":
        np.save(path, W)
    else:
        zarr.save_array(path, W)
    return path


@pytest.mark.parametrize("harm", ["another", "changed", "cut"])
def test_what_is_something_else_by_now_is_not(harm, tmp_path):
    source, out = saved("npy", tmp_path / "in.npy"), tmp_path / "out.npy"
    stopped_after_the_rename(source, out)
    if harm == "another":
        out.unlink()
        shutil.copy(source, out)
    elif harm == "changed":
        with out.open("r+b") as file:
            file.seek(-8, os.SEEK_END)
            file.write(b"\0" * 8)
    else:
        os.truncate(out, 100)
    found = out.read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        project_file(source, out, RULE, resume=True)
    assert out.read_bytes() == found
    assert project_file(source, out, RULE, resume=True, overwrite=True).satisfied
    assert check_file(out, RULE).satisfied


@pytest.mark.parametrize("kind", ["npy", "zarr"])
@pytest.mark.parametrize("relative", [True, False])
def test_a_link_is_replaced_not_what_it_leads_to(kind, relative, tmp_path):
    source, other = (saved(kind, tmp_path / f"{name}.{kind}") for name in ("in", "other"))
    out = tmp_path / f"out.{kind}"
    out.symlink_to(other.name if relative else other)
    assert project_file(source, out, RULE, overwrite=True).satisfied
    assert not out.is_symlink()
    assert not check_file(other, RULE).satisfied
    assert {p.name for p in tmp_path.iterdir()} == {source.name, other.name, out.name}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_folder_that_is_read_only_is_replaced_by_its_owner(tmp_path):
    # All is imported that they may not read.
    project_file(saved("zarr", tmp_path / "first"), tmp_path / "second", RULE)
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    source, out = saved("zarr", theirs / "in.zarr"), theirs / "out.zarr"
    shutil.copytree(source, out)
    for path in (theirs, source, out, *source.rglob("*"), *out.rglob("*")):
        os.chown(path, 12345, 12345)
        if path != theirs:
            path.chmod(0o555 if path.is_dir() else 0o444)

    def as_them():
        os.setgroups([])
        os.setgid(12345)
        os.setuid(12345)
        for _ in range(2):
            project_file(source, out, RULE, overwrite=True)

    _, status = os.waitpid(child(as_them), 0)
    assert status == 0
    assert check_file(out, RULE).satisfied
    assert out.stat().st_mode & 0o777 == 0o555


def test_members_of_one_name_are_carried_over_and_not_selected(tmp_path):
    np.savez(tmp_path / "in.npz", w=W, b=W)
    twice = pytest.warns(UserWarning, match="Duplicate name")
    with zipfile.ZipFile(tmp_path / "in.npz", "a") as archive, twice:
        archive.writestr("w.npy", archive.read("b.npy"))
    assert set(open_weights(tmp_path / "in.npz").tensors) == {"w", "b"}
    assert project_file(tmp_path / "in.npz", tmp_path / "out.npz", [("b", RULE)]).satisfied
    with zipfile.ZipFile(tmp_path / "out.npz") as archive:
        assert [info.filename for info in archive.infolist()].count("w.npy") == 2
    with pytest.raises(ValueError, match=r"two members are named w\.npy"):
        check_file(tmp_path / "in.npz", RULE)


def test_a_header_that_ends_with_the_archive_is_damage(tmp_path):
    np.savez(tmp_path / "in.npz", w=np.ones(3, "f4"))
    data = bytearray((tmp_path / "in.npz").read_bytes())
    listed, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    data[end + 20 : end + 22] = struct.pack("<H", 4)
    data += b"PK\3\4"
    data[listed + 20 : listed + 24] = bytes(4)
    data[listed + 42 : listed + 46] = struct.pack("<I", len(data) - 4)
    (tmp_path / "in.npz").write_bytes(data)
    with pytest.raises(DamagedFileError):
        check_file(tmp_path / "in.npz", RULE)


def test_an_array_of_two_versions_of_zarr_is_not_selected(tmp_path):
    zarr.create_array(tmp_path / "w.zarr", data=W, zarr_format=2)
    zarr.create_array(tmp_path / "3.zarr", data=W)
    shutil.copytree(tmp_path / "3.zarr", tmp_path / "w.zarr", dirs_exist_ok=True)
    with pytest.raises(ValueError, match="version 2 and of version 3"):
        project_file(tmp_path / "w.zarr", tmp_path / "out.zarr", RULE)
    assert not (tmp_path / "out.zarr").exists()
