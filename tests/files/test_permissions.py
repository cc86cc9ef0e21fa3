"""Nobody reads more of a result than of its source, at no moment."""

from __future__ import annotations

import os
import shutil
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
from stored_weights import BY_NAME, FORMATS

from array_constraints import MaxNorm
from array_constraints.executors import grid
from array_constraints.files import project_file
from array_constraints.files.run import project

OPTIONS = {"chunk_size": 2**16, "workers": 1}
W = np.random.default_rng(0).standard_normal((300, 70)).astype("f4")


def made(form, folder):
    """Return a source that only its owner may read, and rules for it."""
    source = folder / f"in{form.suffix}"
    form.make(source, {"w": W} if form.single else {"w": W, "v": W[:9], "ids": np.arange(5)})
    for path in [source, *source.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return source, [("*" if form.single else "*w", MaxNorm(9.0, axis=0))]


def modes(path):
    found = {}
    for entry in [path, *path.rglob("*")]:
        found[entry.relative_to(path)] = stat.S_IMODE(entry.stat().st_mode)
    return found


@pytest.fixture
def many_regions(monkeypatch):
    monkeypatch.setattr(project, "_SECONDS_BETWEEN_SYNCS", 0.0)
    monkeypatch.setattr(grid, "ENTRIES_OF_TILE", 2**12)


@pytest.mark.usefixtures("many_regions")
@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_a_private_source_gives_a_private_result_at_every_moment(form, tmp_path):
    source, rules = made(form, tmp_path)
    out, partial = tmp_path / f"out{form.suffix}", tmp_path / f"out{form.suffix}.partial"
    open_to_others = set()

    def look(count):
        for path in [partial, *partial.rglob("*"), out, *out.rglob("*")]:
            try:
                mode = path.stat().st_mode
            except FileNotFoundError:
                continue
            if mode & 0o077:
                open_to_others.add((path.name, oct(mode)))

    umask = os.umask(0)
    try:
        project_file(source, out, rules, progress=look, **OPTIONS)
        look(0)
    finally:
        os.umask(umask)
    assert not open_to_others
    assert modes(out) == modes(source)


@pytest.mark.parametrize("form", FORMATS, ids=str)
@pytest.mark.parametrize("mode", [0o440, 0o644, 0o640, 0o604])
def test_the_mode_is_that_of_the_source(form, mode, tmp_path):
    source, rules = made(form, tmp_path)
    folders = mode | 0o111 & (mode >> 2)
    for path in [*source.rglob("*"), source]:
        path.chmod(folders if path.is_dir() else mode)
    umask = os.umask(0o077)
    try:
        project_file(source, tmp_path / f"out{form.suffix}", rules, **OPTIONS)
    finally:
        os.umask(umask)
    assert modes(tmp_path / f"out{form.suffix}") == modes(source)


def test_each_file_of_a_folder_has_its_own_mode(tmp_path):
    source, rules = made(BY_NAME["zarr-3"], tmp_path)
    (source / "ids" / "zarr.json").chmod(0o644)
    (source / "w" / "c").chmod(0o755)
    (source / "w" / "c" / "0" / "0").chmod(0o640)
    project_file(source, tmp_path / "out.zarr", rules)
    assert modes(tmp_path / "out.zarr") == modes(source)


@pytest.mark.parametrize("name", ["zarr-2", "zarr-3"])
def test_a_chunk_that_the_source_does_not_store_is_as_private_as_the_others(name, tmp_path):
    import zarr

    from array_constraints import MinMaxNorm

    version = int(name[-1])
    source, out = tmp_path / "in.zarr", tmp_path / "out.zarr"
    array = zarr.create_array(
        source, shape=(20, 20), chunks=(5, 5), dtype="f4", fill_value=1.0, zarr_format=version
    )
    array[:5, :5] = 2.0
    for path in [source, *source.rglob("*")]:
        path.chmod(0o750 if path.is_dir() else 0o640)
    next(p for p in source.rglob("0*") if p.is_file()).chmod(0o600)
    project_file(source, out, MinMaxNorm(0.5, 1.0, axis=None))
    new = set(modes(out)) - set(modes(source))
    assert new
    assert {modes(out)[path] for path in new if (out / path).is_file()} == {0o600}
    assert all(modes(out)[path] & 0o027 == 0 for path in new)


def entries(*entries):
    """Return an access list as the system keeps it: tag, permissions, and who."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 2**32 - 1
BOB = entries((1, 6, NOBODY), (2, 4, 12345), (4, 0, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))


def given(path, name, value):
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"the file system keeps no {name}: {error}")


def test_extended_attributes_and_access_lists_are_kept(tmp_path):
    for name in ("shards", "npz", "hdf5-gzip"):
        form = BY_NAME[name]
        source, rules = made(form, tmp_path)
        file = source if source.is_file() else next(source.glob("*.safetensors"))
        given(file, "user.origin", b"a run")
        given(file, "system.posix_acl_access", BOB)
        out = tmp_path / f"out{form.suffix}"
        project_file(source, out, rules)
        copy = out / file.relative_to(source)
        assert os.getxattr(copy, "user.origin") == b"a run"
        assert os.getxattr(copy, "system.posix_acl_access") == BOB
        assert stat.S_IMODE(copy.stat().st_mode) == stat.S_IMODE(file.stat().st_mode)


def test_a_list_that_a_folder_hands_down_does_not_open_the_result(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    given(folder, "system.posix_acl_default", BOB)
    for name in ("npy", "shards", "zarr-3"):
        form = BY_NAME[name]
        source, rules = made(form, tmp_path)
        for path in [source, *source.rglob("*")]:
            path.chmod(0o750 if path.is_dir() else 0o640)
        out = folder / f"out{form.suffix}"
        project_file(source, out, rules)
        for path in [out, *out.rglob("*")]:
            assert not [n for n in os.listxattr(path) if n.startswith("system.posix_acl")]
        assert modes(out) == modes(source)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owner_and_group_are_kept_where_that_is_allowed(tmp_path):
    for form in FORMATS:
        source, rules = made(form, tmp_path)
        for path in [source, *source.rglob("*")]:
            os.chown(path, 12345, 23456)
        out = tmp_path / f"out{form.suffix}"
        project_file(source, out, rules)
        for path in [out, *out.rglob("*")]:
            assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)
        for path in (source, out):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_a_group_that_may_not_be_kept_gets_what_everybody_gets(tmp_path):
    from kill import child

    np.save(tmp_path / "first.npy", W)  # all is imported that they may not read
    project_file(tmp_path / "first.npy", tmp_path / "second.npy", MaxNorm(9.0))
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    for mode, expected in ((0o640, 0o600), (0o644, 0o644), (0o4755, 0o755)):
        shutil.rmtree(tmp_path / "theirs", ignore_errors=True)
        folder = tmp_path / "theirs"
        folder.mkdir()
        np.save(tmp_path / "in.npy", W)
        os.chown(tmp_path / "in.npy", 12345, 23456)
        (tmp_path / "in.npy").chmod(mode)
        os.chown(folder, 12345, 34567)

        def as_them():
            os.setgroups([])
            os.setgid(34567)
            os.setuid(12345)
            project_file(tmp_path / "in.npy", tmp_path / "theirs" / "out.npy", MaxNorm(9.0))

        _, status = os.waitpid(child(as_them), 0)
        assert status == 0
        assert stat.S_IMODE((folder / "out.npy").stat().st_mode) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize("name", ["shards", "zarr-3"])
def test_a_folder_that_is_read_only_is_copied_stopped_and_continued(name, tmp_path):
    """By somebody who may not write to what is read-only, as root may."""
    from kill import child

    form = BY_NAME[name]
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    source, rules = made(form, tmp_path)
    for path in [*source.rglob("*"), source]:
        path.chmod(0o500 if path.is_dir() else 0o400)
        os.chown(path, 12345, 12345)
    os.chown(tmp_path, 12345, 12345)
    out = tmp_path / f"out{form.suffix}"

    def as_them():
        os.setgroups([])
        os.setgid(12345)
        os.setuid(12345)
        calls = iter([KeyboardInterrupt])
        from array_constraints.files import ResumableError
        from array_constraints.files.delivery import staging

        real = staging.deliver

        def stop(*arguments):
            for error in calls:
                raise error
            real(*arguments)

        staging.deliver = stop
        try:
            project_file(source, out, rules)
        except ResumableError:
            Path(next(out.with_name(out.name + ".partial").glob("content-*"))).touch()
        project_file(source, out, rules, resume=True)

    _, status = os.waitpid(child(as_them), 0)
    assert status == 0
    assert modes(out) == modes(source)
    assert not out.with_name(out.name + ".partial").exists()
