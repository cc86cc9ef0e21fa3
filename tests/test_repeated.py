"""Constraints on the same arrays again and again: the bits of a call of its own each time."""

from __future__ import annotations

import numpy as np
import pytest

from array_constraints import (
    Constraint,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    NormConstraint,
    RadialConstraint,
    UnitNorm,
)
from array_constraints.executors.repeated import Repeated

SHAPES = (
    ((64, 64), 1), ((10, 64), 1), ((1, 64), 1), ((256, 300), 1), ((7, 3, 5), (1, 2)),
    ((3, 40000), 1), ((64, 32), 0), ((33,), 0), ((4, 5), None), ((1200, 100), 1),
)  # fmt: skip


def weights(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return [(scale * rng.standard_normal(shape)).astype("float32") for shape, _ in SHAPES]


def constraints(make):
    return [make(axis) for _, axis in SHAPES]


MAKES = {
    "MaxNorm": lambda axis: MaxNorm(0.7, axis),
    "far": lambda axis: MaxNorm(1e4, axis),
    "MinMaxNorm": lambda axis: MinMaxNorm(0.5, 0.9, 0.3, axis),
    "UnitNorm": UnitNorm,
    "NonNeg": lambda axis: NonNeg(),
}


def arrays(kind, values):
    if kind == "numpy":
        return [value.copy() for value in values]
    torch = pytest.importorskip("torch")
    return [torch.from_numpy(value.copy()) for value in values]


def same_bits(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(a).view("int32"), np.asarray(b).view("int32"))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_the_bits_are_those_of_a_call_in_place(kind, make):
    values = weights(0)
    found, many = arrays(kind, values), constraints(make)
    held = Repeated(many, found)
    for seed in range(3):
        for w, fresh in zip(found, arrays(kind, weights(seed)), strict=True):
            w[...] = fresh
        held.run()
        expected = arrays(kind, weights(seed))
        for constraint, w in zip(many, expected, strict=True):
            constraint(w, copy=False)
        same_bits(found, expected)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e30, 1e-40, 0.0, -0.0], ids=str)
def test_a_slice_that_is_no_product_goes_the_way_of_a_call(kind, odd):
    many = constraints(UnitNorm) + constraints(lambda axis: MaxNorm(0.5, axis))
    values = weights(0) + weights(1)
    values[1][3] = odd
    values[11][2] = odd
    found, expected = arrays(kind, values), arrays(kind, values)
    Repeated(many, found).run()
    for constraint, w in zip(many, expected, strict=True):
        constraint(w, copy=False)
    same_bits(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes(dtype):
    values = [w.astype(dtype) for w in weights(0)]
    many = constraints(lambda axis: MaxNorm(0.5, axis))
    found, expected = [w.copy() for w in values], [w.copy() for w in values]
    Repeated(many, found).run()
    for constraint, w, result in zip(many, expected, found, strict=True):
        constraint(w, copy=False)
        np.testing.assert_array_equal(result, w)


class Halved(Constraint):
    def __call__(self, w):
        return w / 2


class OwnNorm(NormConstraint):
    axis = 0

    def interval(self):
        return MaxNorm(1.0).interval()


def test_forms_and_callables_of_ones_own_are_called():
    w = [np.full((2, 2), 4.0, "float32") for _ in range(3)]
    held = Repeated([Halved(), lambda w: w - 1, OwnNorm()], w)
    held.run()
    assert w[0].tolist() == [[2.0, 2.0]] * 2
    assert w[1].tolist() == [[3.0, 3.0]] * 2
    np.testing.assert_allclose(w[2], 0.5**0.5, rtol=1e-6)


def test_one_bound_for_each_slice_and_kernels():
    w = np.full((2, 3), 4.0, "float32")
    kernel = np.arange(9, dtype="float32").reshape(3, 3, 1, 1)
    expected = RadialConstraint()(kernel)
    Repeated([MaxNorm((1.0, 2.0, 9.0)), RadialConstraint()], [w, kernel]).run()
    np.testing.assert_allclose(np.linalg.norm(w, axis=0), [1.0, 2.0, 32**0.5], rtol=1e-6)
    np.testing.assert_array_equal(kernel, expected)


def test_a_misfit_is_an_error_at_once():
    with pytest.raises(ValueError, match="axis 2 does not fit"):
        Repeated([MaxNorm(1.0, axis=2)], [np.ones((2, 2))])
    locked = np.ones((2, 2))
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="copy=False cannot write"):
        Repeated([MaxNorm(1.0)], [locked])


class TestWhatChangesOfATensor:
    """A parameter keeps its identity while its memory is another one."""

    @pytest.fixture
    def w(self):
        torch = pytest.importorskip("torch")
        return torch.nn.Parameter(torch.full((4, 3), 2.0))

    @pytest.mark.parametrize(
        "change",
        [
            lambda w: w.data.clone(), lambda w: w.data[:2], lambda w: w.data.T,
            lambda w: w.data.double(), lambda w: w.data.half(),
        ],
        ids=["memory", "rows", "order", "float64", "float16"],
    )  # fmt: skip
    def test_is_noticed(self, w, change):
        import torch

        with torch.no_grad():
            held = Repeated([UnitNorm(axis=1)], [w])
            w.data = change(w)
            held.run()
            norms = w.double().norm(dim=1)
            torch.testing.assert_close(norms, torch.ones_like(norms), rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ["MaxNorm", "far", "UnitNorm", "between"])
def test_where_no_value_is_read_the_bits_are_those_of_one_expression(name):
    """What accelerators run, here in memory: slices of zeros, far from 1, and not finite."""
    torch = pytest.importorskip("torch")
    from array_constraints.executors import repeated, whole
    from array_constraints.libraries.torch import TORCH

    values = weights(2, 0.1)
    for w in values:
        for i, scale in enumerate((1e-42, 0.0, 1e30, 1e-30, np.inf, np.nan)):
            w[i % w.shape[0]] *= np.float32(scale if len(w) > 5 else 1.0)
    tensors = [torch.from_numpy(w) for w in values]
    forms = constraints(
        (MAKES | {"between": lambda axis: MinMaxNorm(0.5, 0.9, 1.0, axis)})[name]
    )
    expected = [TORCH.run(whole.project, f, w) for f, w in zip(forms, tensors, strict=True)]
    members = [repeated._member(f, w) for f, w in zip(forms, tensors, strict=True)]
    assert repeated._DeviceGroup(TORCH, 2, members).run() == []
    for w, result in zip(tensors, expected, strict=True):
        assert torch.equal(w.isnan(), result.isnan())
        same_bits([w.nan_to_num(0.0)], [result.nan_to_num(0.0)])
