"""Every format through the whole of it: checked, constrained, and the rest left as it was."""

from __future__ import annotations

import os

import numpy as np
import pytest
import stored_weights
from stored_weights import BFLOAT16, BY_NAME, FORMATS, digest, weights

from array_constraints import MaxNorm, NonNeg, UnitNorm
from array_constraints.files import check_file, open_weights, project_file

CASES = [(form, dtype) for form in FORMATS for dtype in form.dtypes]


def arrays_of(form: stored_weights.Format, dtype: str) -> stored_weights.Arrays:
    if form.single:
        return {"w": weights(dtype)}
    return {
        "w": weights(dtype),
        "other": weights(dtype, seed=1),
        "ids": np.arange(7),
        "flags": np.asarray([True, False, True]),
    }


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request, tmp_path):
    form, dtype = request.param
    path = tmp_path / f"in{form.suffix}"
    arrays = arrays_of(form, dtype)
    form.make(path, arrays)
    return form, arrays, path, tmp_path / f"out{form.suffix}"


def name_of(path, name="w"):
    return next(n for n in open_weights(path).tensors if n.split("/")[-1] in (name, path.stem))


def test_the_bytes_are_those_of_the_constraint_and_everything_else_is_as_it_was(case):
    form, arrays, path, out = case
    before = digest(path)
    for constraint in (
        NonNeg(),
        MaxNorm(9.0, axis=0),
        UnitNorm(axis=1),
        MaxNorm(3.0, axis=None),
    ):
        report = project_file(path, out, [(name_of(path), constraint)], overwrite=True)
        expected, found = dict(arrays), form.read(out)
        expected["w"] = constraint(arrays["w"])
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            if name == "w" and not isinstance(constraint, NonNeg):
                close = {"float64": 1e-14, "float32": 1e-6}.get(str(array.dtype), 8e-3)
                np.testing.assert_allclose(
                    found[name].astype("f8"), array.astype("f8"), rtol=close, atol=0
                )
            else:
                assert found[name].tobytes() == array.tobytes(), name
        (tensor,) = report.tensors
        excess = constraint.violation(arrays["w"])
        assert tensor.before.violating == np.count_nonzero(excess)
        left = constraint.violation(found["w"])
        assert tensor.after.violating == np.count_nonzero(left)
        assert check_file(out, [(name_of(out), constraint)]).tensors[0].before == tensor.after
    assert digest(path) == before
    assert sorted(p.name for p in out.parent.iterdir()) == sorted([path.name, out.name])


def test_a_satisfied_file_comes_back_byte_for_byte(case):
    form, _, path, out = case
    if form.name in ("npz", "npz-compressed", "hdf5-gzip"):
        pytest.skip("written anew by its library")
    project_file(path, out, [(name_of(path), MaxNorm(1e4, axis=0))])
    assert digest(out) == digest(path)


@pytest.mark.parametrize("form", FORMATS, ids=str)
def test_the_bytes_do_not_depend_on_chunk_size_and_workers(form, tmp_path):
    path, out = tmp_path / f"in{form.suffix}", tmp_path / f"out{form.suffix}"
    form.make(path, {"w": _long(), "ids": np.arange(3)} if not form.single else {"w": _long()})
    for constraint in (MaxNorm(20.0, axis=0), MaxNorm(9.0, axis=1), UnitNorm(axis=None)):
        digests = set()
        for chunk_size, workers in ((2**16, 1), (2**20, 2), (5_000_000, 3), (2**26, 2)):
            options = {"chunk_size": chunk_size, "workers": workers, "overwrite": True}
            report = project_file(path, out, [(name_of(path), constraint)], **options)
            assert report.satisfied
            digests.add(digest(out))
        assert len(digests) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_in_every_dtype_the_bytes_are_the_same_and_the_norms_those_of_the_contract(
    dtype, tmp_path
):
    from exact import relative_excess
    from libraries import ROUNDOFF

    w = _long().astype(BFLOAT16 if dtype == "bfloat16" else dtype)
    np.save(tmp_path / "in.npy", w)
    digests = set()
    for chunk_size, workers in ((2**16, 2), (2**21, 1), (2**26, 2)):
        options = {"chunk_size": chunk_size, "workers": workers, "overwrite": True}
        project_file(
            tmp_path / "in.npy", tmp_path / "out.npy", MaxNorm(22.0, axis=0), **options
        )
        digests.add(digest(tmp_path / "out.npy"))
    assert len(digests) == 1
    out = np.load(tmp_path / "out.npy").view(w.dtype)
    u = ROUNDOFF[dtype]
    allowed = 2.05 * u if dtype in ("float16", "bfloat16") else (12 + 1.5 * 7) * u
    excess = [relative_excess(out[:, i], 22.0) for i in range(0, 20_000, 97)]
    assert max(excess) <= 0
    moved = [i for i in range(0, 20_000, 97) if relative_excess(w[:, i], 22.0) > 0]
    assert moved
    assert all(relative_excess(out[:, i], 22.0) >= -allowed for i in moved)
    kept = [i for i in range(0, 20_000, 97) if i not in moved]
    assert kept
    assert all(out[:, i].tobytes() == w[:, i].tobytes() for i in kept)


def _long():
    """More than one tile, and rows of more than 64 KiB."""
    rng = np.random.default_rng(5)
    return (rng.standard_normal((90, 20_000)) * rng.uniform(0, 4, (90, 1))).astype("f4")


@pytest.mark.parametrize("name", ["safetensors", "shards", "npz", "zarr-3", "hdf5", "keras"])
def test_a_dtype_that_no_constraint_takes_is_refused_when_it_is_selected(name, tmp_path):
    form = BY_NAME[name]
    path, out = tmp_path / f"in{form.suffix}", tmp_path / f"out{form.suffix}"
    form.make(path, arrays_of(form, "float32"))
    for rules, strict in ([(name_of(path, "ids"), NonNeg())], False), ([("*", NonNeg())], True):
        with pytest.raises(TypeError, match=r"'\S*(ids|flags)': its dtype is \w+, and"):
            project_file(path, out, rules, strict=strict)
    assert not out.exists()


def test_float8_and_other_dtypes_pass_through_safetensors(tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {
        "float8": torch.arange(8.0).to(torch.float8_e4m3fn),
        "int8": torch.arange(8, dtype=torch.int8),
        "complex": torch.ones(3, dtype=torch.complex64),
        "w": torch.full((3, 4), -1.0),
        "empty": torch.zeros((0, 4)),
        "number": torch.tensor(-3.0),
    }
    save_file(tensors, tmp_path / "in.safetensors")
    rules = [("w", NonNeg()), ("empty", MaxNorm(1.0)), ("number", MaxNorm(2.0, axis=None))]
    report = project_file(tmp_path / "in.safetensors", tmp_path / "out.safetensors", rules)
    found = load_file(tmp_path / "out.safetensors")
    for name in ("float8", "int8", "complex"):
        assert found[name].view(torch.uint8).equal(tensors[name].view(torch.uint8))
    assert not found["w"].any()
    assert -2 <= found["number"] < -1.99
    assert [t.after.slices for t in report.tensors] == [0, 1, 12]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("model.pt", r"is no archive of torch\.save"),
        ("model.bin", r"is no archive of torch\.save"),
        ("model.pkl", r"safetensors\.torch\.save_file"),
        ("model.gguf", "before they are converted"),
        ("model.xyz", r"\.safetensors"),
        ("model", "without a suffix"),
        ("s3://bucket/model.safetensors", "copy the file to a disk"),
    ],
)
def test_what_cannot_be_opened_says_what_to_do(name, advice, tmp_path):
    path = name if "://" in name else tmp_path / name
    if "://" not in name:
        path.write_bytes(b"anything")
    with pytest.raises(ValueError, match=advice):
        check_file(path, NonNeg())


def test_a_folder_without_weights_says_so(tmp_path):
    with pytest.raises(ValueError, match="neither a"):
        open_weights(tmp_path)


def test_an_array_that_zarr_cannot_hold_in_a_dtype_passes_through(tmp_path):
    import zarr

    group = zarr.open_group(tmp_path / "in.zarr", mode="w")
    group.create_array("w", shape=(4, 3), chunks=(2, 2), dtype="f4")[...] = -1
    group.create_array("bf", shape=(4,), chunks=(2,), dtype="i2")[...] = 1
    metadata = tmp_path / "in.zarr" / "bf" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"int16"', '"bfloat16"'))
    project_file(tmp_path / "in.zarr", tmp_path / "out.zarr", [("w", NonNeg())])
    copy = tmp_path / "out.zarr" / "bf"
    assert (copy / "zarr.json").read_text() == metadata.read_text()
    assert digest(copy) == digest(metadata.parent)


def test_a_file_that_cannot_be_written_to_is_read_and_its_copy_can_be_written_to(tmp_path):
    path, out = tmp_path / "w.npy", tmp_path / "out.npy"
    np.save(path, weights("float32"))
    path.chmod(0o444)
    project_file(path, out, NonNeg())
    assert os.access(out, os.W_OK)


def test_the_members_of_an_archive_keep_their_order_times_and_compression(tmp_path):
    import zipfile

    path, out = tmp_path / "in.npz", tmp_path / "out.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"a comment"
        for i, (name, how) in enumerate([("a", 8), ("b", 0), ("c", 8)]):
            info = zipfile.ZipInfo(f"{name}.npy", (2020, 1, 1 + i, 3, 4, 6))
            info.compress_type, info.external_attr = how, 0o640 << 16
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, weights("float32", seed=i))
        archive.writestr("notes.txt", "kept")
    project_file(path, out, [("b", NonNeg())])

    def listed(path):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            return archive.comment, [
                (i.filename, i.date_time, i.compress_type, i.external_attr)
                for i in archive.infolist()
            ]

    assert listed(path) == listed(out)
