"""What a format's own library reads is read; what nobody selects is carried over."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from stored_weights import digest

from array_constraints import MaxNorm
from array_constraints.files import check_file, open_weights, project_file

W = np.full((4, 3), 5.0, "f4")
RULES = [("*w", MaxNorm(1.0, axis=1))]


def constrained(path: Path, out: Path) -> None:
    """Check and project a file that has a violating tensor w; everything can be listed."""
    with open_weights(path) as opened:
        assert any(name.endswith("w") for name in opened.tensors)
    assert check_file(path, RULES).tensors[0].before.violating == 4
    assert project_file(path, out, RULES).satisfied
    assert not out.with_name(out.name + ".partial").exists()


# safetensors


def stored(path, header, data):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


ENTRY = {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}
HEADERS = {
    "no metadata": {"__metadata__": None, "w": ENTRY},
    "further keys": {"w": {**ENTRY, "note": "x", "more": {"a": [1, None]}}},
    "a list for an entry": {"w": list(ENTRY.values())},
    "spaces": b" \n" + json.dumps({"w": ENTRY}).encode() + b"   \t",
    "tensors without entries": {
        "z": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [48, 48]},
        "w": ENTRY,
        "a": {"dtype": "BF16", "shape": [3, 0], "data_offsets": [0, 0]},
    },
    "65 dimensions": {
        "w": ENTRY,
        "b": {"dtype": "U8", "shape": [1] * 65, "data_offsets": [48, 49]},
    },
}


@pytest.mark.parametrize("name", HEADERS)
def test_what_the_library_of_safetensors_reads_is_read(name, tmp_path):
    data = W.tobytes() + (b"x" if name == "65 dimensions" else b"")
    path = stored(tmp_path / "in.safetensors", HEADERS[name], data)
    with safe_open(path, "np") as file:
        np.testing.assert_array_equal(file.get_tensor("w"), W)
    constrained(path, tmp_path / "out.safetensors")
    out = (tmp_path / "out.safetensors").read_bytes()
    assert len(out) == path.stat().st_size
    assert out[: out.index(b"}") + 1] == path.read_bytes()[: out.index(b"}") + 1]


def test_a_dtype_of_tomorrow_is_carried_over_and_not_to_be_selected(tmp_path):
    header = {"w": ENTRY, "q": {"dtype": "I128", "shape": [2], "data_offsets": [48, 80]}}
    path = stored(tmp_path / "in.safetensors", header, W.tobytes() + bytes(range(32)))
    constrained(path, tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes().endswith(bytes(range(32)))
    with pytest.raises(TypeError, match="its dtype is I128"):
        check_file(path, [("q", MaxNorm(1.0))])


# Shards


def sharded(folder, shards, listed=None, index="model.safetensors.index.json"):
    folder.mkdir(parents=True, exist_ok=True)
    for shard, names in shards.items():
        save_file({name: W + i for i, name in enumerate(names)}, folder / shard)
    weight_map = {n: shard for shard, names in shards.items() for n in names}
    weight_map = weight_map if listed is None else listed
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def test_tensors_that_the_index_does_not_list_are_listed_and_carried_over(tmp_path):
    shards = {"1.safetensors": ["w", "unused"], "2.safetensors": ["more", "b"]}
    listed = {"w": "1.safetensors", "b": "2.safetensors"}
    path, out = sharded(tmp_path / "in", shards, listed), tmp_path / "out"
    assert list(open_weights(path).tensors) == ["w", "b", "unused", "more"]
    constrained(path, out)
    np.testing.assert_array_equal(load_file(out / "1.safetensors")["unused"], W + 1)
    assert digest(out / "2.safetensors") == digest(path / "2.safetensors")
    assert project_file(path, tmp_path / "all", [("*", MaxNorm(1.0, axis=1))]).satisfied
    for shard in shards:
        for array in load_file(tmp_path / "all" / shard).values():
            assert np.linalg.norm(array, axis=1).max() <= 1


def test_a_tensor_in_two_shards_is_carried_over_and_not_to_be_selected(tmp_path):
    shards = {"1.safetensors": ["w", "twice"], "2.safetensors": ["b", "twice"]}
    path, out = sharded(tmp_path / "in", shards), tmp_path / "out"
    constrained(path, out)
    assert digest(out / "2.safetensors") == digest(path / "2.safetensors")
    message = r"'twice' lies in 1\.safetensors and in 2\.safetensors.*loaders differ"
    with pytest.raises(ValueError, match=message) as caught:
        check_file(path, MaxNorm(1.0, axis=1))
    assert type(caught.value) is ValueError


def test_one_shard_may_be_spelled_in_two_ways(tmp_path):
    listed = {"w": "1.safetensors", "b": "./1.safetensors"}
    constrained(
        sharded(tmp_path / "in", {"1.safetensors": ["w", "b"]}, listed), tmp_path / "out"
    )
    assert sorted(p.name for p in (tmp_path / "out").iterdir())[0] == "1.safetensors"


# Hugging Face


@pytest.fixture
def cache(tmp_path):
    """A snapshot as huggingface_hub keeps it: every file is a link to a blob."""
    repository = tmp_path / "hub" / "models--acme--tiny"
    snapshot = repository / "snapshots" / "0123abcd"
    sharded(snapshot, {"model-1-of-1.safetensors": ["a.w"]})
    save_file({"w": W}, snapshot / "adapter.safetensors")
    zarr.create_array(snapshot / "z" / "w", shape=(4, 3), chunks=(2, 3), dtype="f4")[...] = W
    zarr.open_group(snapshot / "z", mode="a")
    (repository / "blobs").mkdir()
    for i, file in enumerate(sorted(p for p in snapshot.rglob("*") if p.is_file())):
        blob = repository / "blobs" / f"{i:064x}"
        file.rename(blob)
        file.symlink_to(os.path.relpath(blob, file.parent))
    return snapshot


def test_caches_of_hugging_face_are_read_and_links_become_files(cache, tmp_path):
    before = digest(cache.parents[1])
    named = {
        cache: "out",
        cache / "model.safetensors.index.json": "out2",
        cache / "adapter.safetensors": "out.safetensors",
        cache / "z": "out.zarr",
    }
    (tmp_path / "link").symlink_to(cache)
    for path, out in {**named, tmp_path / "link": "out3"}.items():
        constrained(path, tmp_path / out)
        made = [tmp_path / out, *(tmp_path / out).rglob("*")]
        assert not any(entry.is_symlink() for entry in made)
    assert digest(cache.parents[1]) == before
    loaded = load_file(tmp_path / "out" / "model-1-of-1.safetensors")
    assert np.linalg.norm(loaded["a.w"], axis=1).max() <= 1


@pytest.mark.parametrize("how", ["out", "other", "link", "folder"])
def test_links_that_leave_the_repository_are_refused_with_what_to_do(how, cache, tmp_path):
    blobs, shard = cache.parents[1] / "blobs", cache / "model-1-of-1.safetensors"
    private = tmp_path / "private.safetensors"
    private.write_bytes(shard.read_bytes())
    if how == "out":
        shard.unlink()
        shard.symlink_to(private)
    elif how == "other":  # the blobs of another repository
        other = tmp_path / "hub" / "models--acme--other" / "blobs"
        other.mkdir(parents=True)
        private.rename(other / "aa")
        shard.unlink()
        shard.symlink_to(other / "aa")
    elif how == "link":
        blob = shard.resolve()
        blob.unlink()
        blob.symlink_to(private)
    else:  # the folder of the blobs is elsewhere
        blobs.rename(tmp_path / "elsewhere")
        blobs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"follow_links=True") as caught:
        project_file(cache, tmp_path / "out", RULES)
    assert shard.name in str(caught.value) or how == "folder"
    assert not (tmp_path / "out").exists()


def test_variants_and_folders_of_one_file_are_opened(tmp_path):
    index = "model.safetensors.index.fp16.json"
    path = sharded(tmp_path / "in", {"model.fp16-1-of-1.safetensors": ["w"]}, index=index)
    constrained(path / index, tmp_path / "out")
    constrained(path, tmp_path / "out2")
    assert (tmp_path / "out" / index).is_file()
    single = tmp_path / "single"
    single.mkdir()
    save_file({"w": W}, single / "model.safetensors")
    (single / "config.json").write_text("{}")
    constrained(single, tmp_path / "out.safetensors")
    save_file({"w": W}, single / "other.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors, other\.safetensors: name the"):
        open_weights(single)
    sharded(path, {"2.safetensors": ["w"]})
    with pytest.raises(ValueError, match=r"index\.fp16\.json, model.*index\.json: name the"):
        open_weights(path)


# NumPy


def header(array, version):
    with io.BytesIO() as file:
        np.lib.format.write_array(file, np.asarray(array), version, allow_pickle=True)
        return file.getvalue()


FIELDS = np.dtype([("größe", "f4"), ("名", "i4")])
MEMBERS = {
    "version 2": header(np.arange(3), (2, 0)),
    "version 3": header(np.ones(2, FIELDS), (3, 0)),
    "a long header": header(np.ones(2, [(f"field{i}" * 9, "f4") for i in range(900)]), (2, 0)),
    "pickled": header(np.asarray([{}, None], object), (1, 0)),
    "no array": b"something else",
    "a later version": b"\x93NUMPY\x09\0" + bytes(50),
    "nothing": b"",
}


@pytest.mark.filterwarnings("ignore:Stored array in format")
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=str)
def test_members_with_other_headers_are_carried_over(method, tmp_path):
    path, out = tmp_path / "in.npz", tmp_path / "out.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        for i, (name, content) in enumerate(MEMBERS.items()):
            archive.writestr(f"{i} {name}.npy", content)
        archive.writestr("w.npy", header(W, (3, 0)))
        archive.writestr("folder/", b"")
        archive.writestr("notes.txt", b"text " * 100)
        archive.writestr("folder/behind.npy", header(np.arange(4), (1, 0)))
        archive.comment = b"a comment"
    constrained(path, out)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out) as new:
        assert new.testzip() is None
        assert new.comment == old.comment
        assert new.namelist() == old.namelist()
        for name in set(old.namelist()) - {"w.npy"}:
            assert new.read(name) == old.read(name)
    selected = [("*a long header", MaxNorm(1.0))]
    with pytest.raises(LookupError, match="header is longer than"):
        check_file(path, selected)


def packed(path, method, flags=0):
    """Write an archive whose first member says that it was packed in another way."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.npy", b"what nobody here can unpack")
        archive.writestr("w.npy", header(W, (1, 0)))
    raw = bytearray(path.read_bytes())
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = raw.index(signature) + at
        raw[place : place + 4] = struct.pack("<HH", flags, method)
    path.write_bytes(raw)


@pytest.mark.parametrize(("method", "flags"), [(9, 0), (93, 0), (98, 0), (8, 1), (99, 1)])
def test_members_that_cannot_be_unpacked_are_carried_over(method, flags, tmp_path):
    path, out = tmp_path / "in.npz", tmp_path / "out.npz"
    packed(path, method, flags)
    constrained(path, out)
    with zipfile.ZipFile(out) as archive:
        info = archive.getinfo("other.npy")
        assert (info.compress_type, info.flag_bits & 1) == (method, flags)
        assert b"what nobody here can unpack" in out.read_bytes()
    with pytest.raises(ValueError, match=r"is encrypted|is not unpacked"):
        project_file(path, out, [("other", MaxNorm(1.0))], overwrite=True)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str)
def test_methods_without_a_bound_are_carried_over_and_not_to_be_selected(method, tmp_path):
    path, out = tmp_path / "in.npz", tmp_path / "out.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", header(W, (1, 0)))
        archive.writestr("other.npy", header(np.arange(99), (1, 0)), method)
    constrained(path, out)
    with np.load(out) as file:
        np.testing.assert_array_equal(file["other"], np.arange(99))
    with pytest.raises(ValueError, match=r"compressed by (bzip2|lzma).*savez_compressed"):
        check_file(path, [("other", MaxNorm(1.0))])


def test_members_behind_a_descriptor_keep_it(tmp_path):
    class Stream(io.RawIOBase):  # an archive that was written to a pipe
        def __init__(self, path):
            self.file = path.open("wb")

        def writable(self):
            return True

        def write(self, piece):
            return self.file.write(piece)

    path, out = tmp_path / "in.npz", tmp_path / "out.npz"
    stream = Stream(path)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ids.npy", header(np.arange(99), (1, 0)))
        archive.writestr("w.npy", header(W, (1, 0)))
    stream.file.close()
    constrained(path, out)
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        assert archive.getinfo("ids.npy").flag_bits & 8
    with np.load(out) as file:
        np.testing.assert_array_equal(file["ids"], np.arange(99))


# Zarr


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("separator", [".", "/"])
def test_files_that_are_not_zarrs_are_carried_over(version, separator, tmp_path):
    path, out = tmp_path / "in.zarr", tmp_path / "out.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=version)
    options = {"chunks": (2, 3), "dtype": "f4"}
    if version == 3:
        options["chunk_key_encoding"] = {"name": "default", "separator": separator}
    else:
        options["chunk_key_encoding"] = {"name": "v2", "separator": separator}
    group.create_array("deep/w", shape=(4, 3), **options)[...] = W
    group.create_array("0", shape=(), chunks=(), dtype="f4")[...] = 3
    if version == 2:  # of version 3 there is no specification
        zarr.consolidate_metadata(path, zarr_format=version)
    beside = [".gitkeep", "deep/.DS_Store", "deep/w/.gitkeep", "deep/w/read.me", "deep/w/9.9",
              "deep/w/c/7/7", "deep/w/mine.partial", "deep/w/00.0", "0/.gitkeep"]  # fmt: skip
    for i, name in enumerate(beside):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"kept" * (i % 2))
    constrained(path, out)
    for name in beside:
        assert (out / name).read_bytes() == (path / name).read_bytes()
    found = {p.relative_to(out) for p in out.rglob("*")}
    assert found == {p.relative_to(path) for p in path.rglob("*")}
    assert np.linalg.norm(zarr.open_array(out / "deep" / "w", mode="r")[...], axis=1).max() <= 1


def test_an_array_that_zarr_cannot_read_is_carried_over_and_not_to_be_selected(tmp_path):
    path, out = tmp_path / "in.zarr", tmp_path / "out.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for name in ("w", "odd", "empty"):
        group.create_array(name, shape=(4, 3), chunks=(2, 3), dtype="f4")[...] = W
    metadata = json.loads((path / "odd" / ".zarray").read_text())
    metadata["compressor"] = {"id": "of somebody"}
    (path / "odd" / ".zarray").write_text(json.dumps(metadata))
    (path / "empty" / "0.0").write_bytes(b"")
    constrained(path, out)
    for name in ("odd", "empty"):
        assert digest(out / name) == digest(path / name)
        with pytest.raises(ValueError, match=name):
            check_file(path, [(name, MaxNorm(1.0))])


# HDF5


def made_of(kind):
    def make(file):
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"other", kind, space)

    return make


DATASETS = {
    "text": lambda f: f.create_dataset("other", data="cat dog"),
    "bytes": lambda f: f.create_dataset("other", data=b"cat dog"),
    "list": lambda f: f.create_dataset("other", data=["cat", "dog", ""]),
    "chunked list": lambda f: f.create_dataset("other", data=["a"] * 9, chunks=(2,)),
    "table": lambda f: f.create_dataset(
        "other", data=np.array([(1.0, "x")], [("a", "f4"), ("b", h5py.string_dtype())])
    ),
    "lists": lambda f: f.create_dataset("other", (3,), h5py.vlen_dtype("f4")),
    "references": lambda f: f.create_dataset("other", data=[f["w"].ref], dtype=h5py.ref_dtype),
    "enum": lambda f: f.create_dataset("other", (3,), h5py.enum_dtype({"a": 1})),
    "no numpy": made_of(h5py.h5t.UNIX_D32LE),
    "never written": lambda f: f.create_dataset("other", (2**40,), "i8"),
    "never written, float": lambda f: f.create_dataset("other", (2**40,), "f4"),
    "chunks never written": lambda f: f.create_dataset("other", (2**50,), "f4", chunks=(9,)),
    "nothing": lambda f: f.create_dataset("other", data=h5py.Empty("f4")),
    "a type": lambda f: f.__setitem__("other", np.dtype("f8")),
}


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("chunks", [None, (2, 3)], ids=str)
def test_datasets_of_any_kind_stand_beside_weights(name, chunks, tmp_path):
    path, out = tmp_path / "in.h5", tmp_path / "out.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("w", data=W, chunks=chunks)
        DATASETS[name](file)
    constrained(path, out)
    with h5py.File(path) as old, h5py.File(out) as new:
        assert list(new) == list(old)
        assert np.linalg.norm(new["w"][...], axis=1).max() <= 1
        if "never" not in name and name not in ("no numpy", "a type"):
            assert repr(new["other"][()]) == repr(old["other"][()])
    if name != "a type":
        with pytest.raises((TypeError, ValueError)):
            check_file(path, [("other", MaxNorm(1.0))])


def test_strings_stand_beside_weights_in_an_archive_of_keras(tmp_path):
    path, out, h5 = tmp_path / "in.keras", tmp_path / "out.keras", tmp_path / "w.h5"
    with h5py.File(h5, "w") as file:
        file["w"] = W
        file["vocabulary"] = ["cat", "dog"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}", zipfile.ZIP_BZIP2)
        archive.writestr("assets/", b"")
        archive.write(h5, "model.weights.h5")
    constrained(path, out)
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        with archive.open("model.weights.h5") as file, h5py.File(file) as weights:
            assert list(weights["vocabulary"].asstr()[...]) == ["cat", "dog"]


def test_weights_that_keras_would_not_compress_are_refused_with_what_to_do(tmp_path):
    path, h5 = tmp_path / "in.keras", tmp_path / "w.h5"
    with h5py.File(h5, "w") as file:
        file["w"] = W
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(h5, "model.weights.h5")
    with pytest.raises(ValueError, match="save the model with Keras") as caught:
        open_weights(path)
    assert type(caught.value) is ValueError
