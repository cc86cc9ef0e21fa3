"""The suite's own view of the array libraries: bits, modes, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from array_constraints_conformance.libraries import UnknownLibrary, installed, library
from array_constraints_conformance.libraries.base import as_written
from array_constraints_conformance.numerics.formats import FORMATS

NAMES = [name for name in installed() if name != "cupy"]


@pytest.fixture(params=NAMES)
def lib(request):
    made = library(request.param)
    with made.active():
        yield made


def patterns(dtype: str) -> np.ndarray:
    fmt = FORMATS[dtype]
    size = fmt.dtype.itemsize
    words = np.random.default_rng(0).integers(0, 2 ** (8 * size), (40, 3), dtype=f"u{size}")
    values = words.view(fmt.dtype)
    with np.errstate(invalid="ignore"):  # signalling NaN
        values[np.isnan(values.astype(np.float64))] = np.nan
    return values


def test_the_matrix_has_every_library_and_mode_that_is_installed():
    assert {"numpy", "dask.array", "jax.numpy", "jax.numpy+x64+jit", "array_api_strict"} <= set(
        NAMES
    )


def test_arrays_are_made_and_read_without_changing_a_bit(lib):
    for dtype in lib.dtypes:
        values = patterns(dtype)
        if lib.flushes(dtype):
            tiny = np.abs(values.astype(np.float64)) < FORMATS[dtype].smallest
            values = np.where(tiny, np.zeros_like(values), values)
        x = lib.array(values)
        assert lib.is_own(x)
        assert lib.dtype(x) == dtype
        assert lib.numpy(x).tobytes() == values.tobytes()


def test_the_device_is_described_as_a_person_writes_it(lib):
    assert re.fullmatch(r"CPU|GPU \d+ \(.+\)", lib.described.device)


@pytest.mark.parametrize(
    ("named", "model", "written"),
    [
        ("cpu", "", "CPU"),
        ("TFRT_CPU_0", "", "CPU"),
        ("array_api_strict.Device('CPU_DEVICE')", "", "CPU"),
        ("cuda:0", "NVIDIA H200", "GPU 0 (NVIDIA H200)"),
        ("<CUDA Device 1>", "NVIDIA H100", "GPU 1 (NVIDIA H100)"),
        ("mps:0", "", "GPU 0"),
        ("TPU_2(process=0,(0,0,0,0))", "TPU v4", "TPU 2 (TPU v4)"),
        ("lazy", "", "lazy"),
    ],
)
def test_a_device_is_written_by_its_kind_number_and_model(named, model, written):
    assert as_written(named, model) == written


def test_a_made_array_is_a_copy(lib):
    values = np.ones((2, 2), np.float32)
    x = lib.array(values)
    values[0, 0] = 5
    assert lib.numpy(x)[0, 0] == 1
    assert lib.is_own(x)
    assert not lib.is_own([1.0])


def test_memory_is_shared_with_itself_alone(lib):
    x = lib.array(np.ones((2, 2), np.float32))
    y = lib.array(np.ones((2, 2), np.float32))
    assert lib.shares_memory(x, x)
    assert not lib.shares_memory(x, y)
    assert not lib.shares_memory(x[:0, :] * 1, x[:0, :] * 1)  # both may be at address 0


def test_other_memory_orders_hold_the_same_values(lib):
    values = patterns("float32")
    for x in lib.layouts(values).values():
        found = lib.numpy(x).astype(np.float32)  # in this machine's byte order
        assert found.tobytes() == values.tobytes()


def test_what_cannot_be_written_holds_the_values_of_equal_rows(lib):
    values = np.full((3, 2), -3.0, np.float32)
    for x in lib.unwritable(values).values():
        np.testing.assert_array_equal(lib.numpy(x), values)
    if "strided" in lib.traits:
        np.testing.assert_array_equal(lib.numpy(lib.read_only(values)), values)


def test_derivatives_traces_and_maps_by_hand(lib):
    w = np.asarray([1.0, 2.0], np.float32)
    if "differentiating" in lib.traits:
        np.testing.assert_array_equal(lib.jacobian(lambda x: x * x, w), [[2, 0], [0, 4]])
    if "tracing" in lib.traits:
        assert lib.numpy(lib.traced(lambda x: x * 2, lib.array(w))).tolist() == [2, 4]
        rows = lib.array(np.asarray([[1.0, 2.0], [3.0, 5.0]], np.float32))
        sums = lib.mapped(lambda x: x - x.sum(), rows)
        assert lib.numpy(sums).tolist() == [[-2, -1], [-5, -3]]


def test_dask_notices_what_is_computed():
    dask = library("dask.array")
    x = dask.array(np.ones((4, 4), np.float32))
    with pytest.raises(Exception, match="computed while the graph"), dask.nothing_computed():
        float(x.sum())


def test_subnormal_numbers_are_zeros_for_xla_alone(lib):
    for dtype in lib.dtypes:
        expected = lib.module == "jax.numpy" and dtype != "float16"
        assert lib.flushes(dtype) == expected


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("no_such_library", None, "cannot be used: No module named"),
        ("numpy+jit", None, "the modes of numpy are: none"),
        ("jax.numpy+fast", None, "the modes of jax.numpy are: jit, x64"),
        ("json", None, "cannot be used"),
        ("jax.numpy", "tpu:7", "on device 'tpu:7'"),
    ],
)
def test_what_is_no_library_is_refused(name, device, message):
    with pytest.raises(UnknownLibrary, match=message):
        library(name, device)


def test_any_module_that_follows_the_standard_will_do():
    lib = library("array_api_compat.numpy")
    assert lib.dtypes == ("float16", "float32", "float64")
    assert lib.numpy(lib.array(np.ones(2, np.float32))).tolist() == [1, 1]
