"""Arrays whose storage rounds are refused by name before anything is written."""

from __future__ import annotations

import h5py
import numcodecs
import numcodecs.abc
import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from array_constraints import MaxNorm
from array_constraints.cli import main
from array_constraints.files import check_file, open_weights, project_file

W = (np.random.default_rng(0).normal(size=(60, 7)) * 5).astype("f4")


class Halved(numcodecs.abc.Codec):
    """A codec of somebody's own, which rounds only where a chunk is smooth."""

    codec_id = "test-halved"

    def encode(self, buf):
        a = np.array(buf)
        if np.isfinite(a).all() and np.ptp(a) < 3:
            a = np.round(a, 2)
        return a

    def decode(self, buf, out=None):
        return numcodecs.compat.ndarray_copy(buf, out)


numcodecs.registry.register_codec(Halved)
LOSSY_2 = {
    "fixedscaleoffset": numcodecs.FixedScaleOffset(0, 10, dtype="<f4", astype="<i2"),
    "bitround": numcodecs.BitRound(keepbits=3),
    "bitround-by-a-bit": numcodecs.BitRound(keepbits=22),
    "quantize": numcodecs.Quantize(digits=1, dtype="<f4"),
    "astype": numcodecs.AsType(encode_dtype="<f2", decode_dtype="<f4"),
    "delta": numcodecs.Delta(dtype="<f4"),
    "of-somebody": Halved(),
}
KEPT_2 = {
    "none": [],
    "shuffle": [numcodecs.Shuffle(4)],
    "astype-wider": [numcodecs.AsType(encode_dtype="<f8", decode_dtype="<f4")],
    "bitround-of-all": [numcodecs.BitRound(keepbits=23)],
    "integers": [numcodecs.Delta(dtype="<i4")],
}


def zarr_2(path, filters, **options):
    options = {"shape": W.shape, "chunks": (16, 7), "dtype": "f4", **options}
    made = zarr.create_array(path, zarr_format=2, filters=filters, **options)
    made[...] = W


def zarr_3(path, filters, **options):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's: these codecs have no specification
        options = {"chunks": (16, 7), **options}
        made = zarr.create_array(path, shape=W.shape, dtype="f4", filters=filters, **options)
        made[...] = W


def refused(path, out, named):
    with pytest.raises(ValueError, match=r"do not come back|written anew") as caught:
        project_file(path, out, MaxNorm(1.0))
    assert named in str(caught.value)
    assert str(path) in str(caught.value)
    assert not out.exists()
    assert not out.with_name(out.name + ".partial").exists()
    assert check_file(path, MaxNorm(1.0)).tensors[0].before.slices == 7  # to read is fine
    assert len(open_weights(path).tensors) == 1


def kept(path, out):
    report = project_file(path, out, MaxNorm(1.0))
    assert report.satisfied
    assert check_file(out, MaxNorm(1.0)).tensors[0].before == report.tensors[0].after


@pytest.mark.parametrize("name", LOSSY_2)
def test_codecs_of_zarr_2_that_round_are_refused(name, tmp_path):
    zarr_2(tmp_path / "in.zarr", [LOSSY_2[name]])
    refused(tmp_path / "in.zarr", tmp_path / "out.zarr", LOSSY_2[name].codec_id)


@pytest.mark.parametrize("name", sorted(set(KEPT_2) - {"integers"}))
def test_codecs_of_zarr_2_that_keep_all_bits_are_not(name, tmp_path):
    zarr_2(tmp_path / "in.zarr", KEPT_2[name], order="F")
    kept(tmp_path / "in.zarr", tmp_path / "out.zarr")


@pytest.mark.filterwarnings("ignore")  # zarr's: these codecs have no specification
@pytest.mark.parametrize("options", [{}, {"shards": (32, 14)}, {"chunks": (1, 1)}], ids=str)
def test_codecs_of_zarr_3_that_round_are_refused(options, tmp_path):
    from zarr.codecs.numcodecs import BitRound, Shuffle

    zarr_3(tmp_path / "in.zarr", [BitRound(keepbits=5)], **options)
    refused(tmp_path / "in.zarr", tmp_path / "out.zarr", "numcodecs.bitround")
    options = {"compressors": [Shuffle(elementsize=4)], **options}
    zarr_3(tmp_path / "kept.zarr", "auto", **options)
    kept(tmp_path / "kept.zarr", tmp_path / "kept_out.zarr")


@pytest.mark.filterwarnings("ignore")
def test_shards_behind_a_transposition_are_tried_too(tmp_path):
    from zarr.codecs import BytesCodec, ShardingCodec, TransposeCodec
    from zarr.codecs.numcodecs import BitRound

    for name, inner in (("in", [BitRound(keepbits=5)]), ("kept", [])):
        shard = ShardingCodec(chunk_shape=(50, 100), codecs=[*inner, BytesCodec()])
        codecs = [TransposeCodec(order=(1, 0)), shard]
        options = {"shape": (400, 200), "chunk_shape": (200, 200), "dtype": "f4"}
        made = zarr.Array.create(tmp_path / f"{name}.zarr", codecs=codecs, **options)
        made[...] = 5
    with pytest.raises(ValueError, match=r"numcodecs\.bitround, bytes, but numbers from 1"):
        project_file(tmp_path / "in.zarr", tmp_path / "out.zarr", MaxNorm(1.0))
    kept(tmp_path / "kept.zarr", tmp_path / "kept_out.zarr")


def n_bit(bits):
    """Return a type of 32 bits of which so many are stored."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_precision(bits)
    return kind


HDF5 = {
    "scaleoffset": {"scaleoffset": 1},
    "scaleoffset-fine": {"scaleoffset": 5},
}


@pytest.mark.parametrize("name", HDF5)
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
@pytest.mark.parametrize("chunks", [(60, 7), (2, 1)], ids=str)
def test_filters_of_hdf5_that_round_are_refused(name, dtype, chunks, tmp_path):
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file.create_dataset("w", data=W.astype(dtype), chunks=chunks, **HDF5[name])
    refused(tmp_path / "in.h5", tmp_path / "out.h5", "scaleoffset")


def test_filters_of_hdf5_that_keep_all_bits_are_not(tmp_path):
    ways = [
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf"},
        {},
    ]
    for i, options in enumerate(ways):
        for dtype in ("f2", "f4", ">f4", "f8"):
            path = tmp_path / f"{i}{dtype}.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset("w", data=W.astype(dtype), chunks=(16, 7), **options)
            kept(path, tmp_path / f"out_{path.name}")


def test_n_bit_keeps_what_has_all_bits_and_other_floats_are_refused(tmp_path):
    for name, bits in (("whole", 32), ("part", 20)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            plist, kind = h5py.h5p.create(h5py.h5p.DATASET_CREATE), h5py.h5t.IEEE_F32LE.copy()
            plist.set_chunk((60, 7))
            plist.set_filter(h5py.h5z.FILTER_NBIT)
            if bits == 20:
                kind.set_fields(19, 11, 8, 0, 11)
                kind.set_precision(20)
            space = h5py.h5s.create_simple(W.shape)
            made = h5py.Dataset(h5py.h5d.create(file.id, b"w", kind, space, plist))
            made[...] = W
    kept(tmp_path / "whole.h5", tmp_path / "out.h5")
    with pytest.raises(LookupError, match="of another format"):
        project_file(tmp_path / "part.h5", tmp_path / "out2.h5", MaxNorm(1.0))


def test_only_what_is_selected_is_refused(tmp_path):
    group = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=2)
    for name, filters in (("lossy", [LOSSY_2["quantize"]]), ("w", [])):
        options = {"shape": W.shape, "chunks": (16, 7), "dtype": "f4", "filters": filters}
        group.create_array(name, **options)[...] = W
    out = tmp_path / "out.zarr"
    assert project_file(tmp_path / "in.zarr", out, [("w", MaxNorm(1.0))]).satisfied
    copied = zarr.open_group(out, mode="r")
    np.testing.assert_array_equal(copied["lossy"][...], group["lossy"][...])


def test_from_the_command_line_it_is_a_command_that_makes_no_sense(tmp_path):
    zarr_2(tmp_path / "in.zarr", [LOSSY_2["bitround"]])
    limits = ["--constraint", "max_norm", "--max-value", "1", "--progress", "none"]
    for options in ([], ["--dry-run"]):
        arguments = [str(tmp_path / "in.zarr"), str(tmp_path / "out.zarr"), *limits, *options]
        run = CliRunner().invoke(main, ["project", *arguments])
        assert run.exit_code == 2
        assert "bitround" in run.output
    assert [p.name for p in tmp_path.iterdir()] == ["in.zarr"]


def test_chunks_of_any_nan_keep_their_bits_where_nan_is_not_stored(tmp_path):
    w = np.full((4, 6), np.nan, "f4")
    w.view("u4")[:, 2:] = 0xFFC00001  # another NaN; a chunk of it alone, and a mixed one
    for i, options in enumerate(({}, {"shards": (4, 6)}, {"zarr_format": 2})):
        path, out = tmp_path / f"{i}.zarr", tmp_path / f"{i}out.zarr"
        options = {"shape": (4, 6), "chunks": (2, 3), "dtype": "f4", **options}
        made = zarr.create_array(
            path, fill_value=np.nan, config={"write_empty_chunks": True}, **options
        )
        made[...] = w
        assert project_file(path, out, MaxNorm(1.0)).tensors[0].after.violating == 6
        assert zarr.open_array(out, mode="r")[...].tobytes() == w.tobytes()
