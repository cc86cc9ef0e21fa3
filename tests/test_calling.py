"""The call: what copy means, what is kept, and what is refused, the same on every library."""

from __future__ import annotations

import dataclasses
import re
import warnings
from typing import final

import numpy as np
import pytest
from libraries import DASK, DTYPES, JAX, LIBRARIES, NUMPY, STRICT, TORCH, Library, bits

import array_constraints.constraint
from array_constraints import (
    Constraint,
    Interval,
    MaxNorm,
    MinMaxNorm,
    NonNeg,
    NormConstraint,
    RadialConstraint,
    Rescaling,
    UnitNorm,
    WholeSlice,
    reductions,
)

CONSTRAINTS = [MaxNorm(1.0), MinMaxNorm(0.5, 1.0), UnitNorm(), NonNeg()]
every_constraint = pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
WRITABLE = (NUMPY, TORCH, STRICT)


def example(dtype: str = "float32") -> np.ndarray:
    return np.asarray([[3.0, -0.3], [-4.0, 0.4]]).astype(DTYPES[dtype])


def normal(shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("library", LIBRARIES, ids=str)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)], ids=str)
def test_a_weight_without_entries_comes_back_and_no_form_is_asked(library, shape):
    class Largest(WholeSlice):
        axis = 0

        def project(self, slices, xp):
            raise AssertionError("there is nothing to project")

        def excess(self, slices, xp):
            return xp.zeros_like(slices)

    with library.active():
        w = library.array(np.zeros(shape, np.float32))
        for constraint in (Largest(), *CONSTRAINTS):
            assert constraint(w) is w


@pytest.mark.parametrize(
    ("form", "methods"),
    [
        (array_constraints.Rescaling, ("interval", "measure", "size")),
        (array_constraints.Elementwise, ("excess", "project")),
        (array_constraints.Slicewise, ("apply", "excess", "measure", "merge")),
        (array_constraints.WholeSlice, ("excess", "project")),
        (NormConstraint, ("interval",)),
    ],
)
def test_a_form_is_incomplete_without_its_methods(form, methods):
    assert sorted(form.__abstractmethods__) == sorted(methods)
    with pytest.raises(TypeError, match=f"abstract.*{methods[0]}"):
        form()


@pytest.mark.parametrize(
    "constraint", [*CONSTRAINTS, Constraint()], ids=lambda c: type(c).__name__
)
def test_the_weight_may_be_named_and_copy_has_to_be(constraint):
    w = example()
    np.testing.assert_array_equal(constraint(w=w), constraint(w))
    with pytest.raises(TypeError, match="positional argument"):
        constraint(w, True)


def test_an_axis_that_is_no_field_is_left_to_the_subclass():
    @dataclasses.dataclass(frozen=True)
    class Leading(NormConstraint):
        amount: float = 1.0
        zeal: float = 1.0
        axis = property(lambda self: 0)  # cannot be set

        def interval(self):
            return Interval(0.0, self.amount * self.zeal)

    np.testing.assert_allclose(Leading(2.0)(np.asarray([3.0, 4.0])), [1.2, 1.6], rtol=1e-14)


@every_constraint
class TestCopy:
    def test_none_never_modifies_the_input(self, library, constraint):
        w = library.array(example())
        constraint(w)
        assert bits(library.numpy(w)) == bits(example())

    def test_true_returns_a_new_array(self, library, constraint):
        w = library.array(example())
        result = constraint(w, copy=True)
        assert result is not w
        assert bits(library.numpy(result)) == bits(library.numpy(constraint(w)))
        empty = library.array(example()[:0])
        assert constraint(empty, copy=True) is not empty

    def test_true_returns_no_view(self, library, constraint):
        class Same(WholeSlice):
            axis = 0

            def project(self, slices, xp):
                return slices

            def excess(self, slices, xp):
                return xp.zeros_like(slices)

        w = np.ones((2, 2), "f4")
        assert not np.shares_memory(Same()(w, copy=True), w)
        assert Constraint()(library.array(w), copy=True) is not None

    @pytest.mark.parametrize("writable", WRITABLE, ids=str)
    def test_false_writes_into_the_array_and_returns_it(self, writable, constraint):
        with writable.active():
            w = writable.array(example())
            expected = writable.numpy(constraint(w)).copy()
            assert constraint(w, copy=False) is w
            assert bits(writable.numpy(w)) == bits(expected)

    @pytest.mark.parametrize("immutable", [JAX, DASK], ids=str)
    def test_false_is_refused_where_arrays_are_immutable(self, immutable, constraint):
        with immutable.active():
            w = immutable.array(example())
            with pytest.raises(ValueError, match="copy=False cannot write into an immutable"):
                constraint(w, copy=False)

    def test_copy_is_none_or_a_bool(self, library, constraint):
        with pytest.raises(TypeError, match="copy must be None, True or False, got 1"):
            constraint(library.array(example()), copy=1)


@pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        (MaxNorm(5.0), [3, 4]),  # on the bound
        (MinMaxNorm(5.0, 9.0), [3, 4]),
        (MinMaxNorm(0.5, 1.0, rate=0.0), [3, 4]),
        (MinMaxNorm(0.5, 1.0), [0, 0]),  # without a direction
        (MinMaxNorm(0.5, 1.0), [np.inf, 1]),
        (MinMaxNorm(0.5, 1.0), [np.nan, 1]),
        (NonNeg(), [0, 1]),
    ],
    ids=repr,
)
def test_where_nothing_changes_the_array_comes_back(library, dtype, constraint, values):
    with library.active():
        w = library.array(np.asarray([values], dtype).T)
        for _ in range(2):  # the first call, and those that have its plan
            assert constraint(w) is w


@final
@dataclasses.dataclass(frozen=True)
class LargestAtMostOne(Rescaling):
    """A form of one's own from which nobody derives: a second call has its plan."""

    axis: int = 0
    measure = staticmethod(reductions.largest_magnitude)
    size = staticmethod(reductions.norm)

    def interval(self):
        return Interval(0.0, 1.0)


@final
class Changing(NormConstraint):
    """A form of one's own that somebody may give another radius."""

    axis = 0
    radius = 2.0

    def interval(self):
        return Interval(0.0, self.radius)


class TestNoCallDependsOnEarlierOnes:
    def test_of_a_size_of_ones_own(self, library):
        form, w = LargestAtMostOne(), np.asarray([[3.0, -0.25], [-4.0, 0.5]], "float32")
        for _ in range(3):
            result = library.numpy(form(library.array(w)))
            np.testing.assert_allclose(result, [[0.75, -0.25], [-1.0, 0.5]], rtol=1e-6)

    def test_of_a_form_that_changed(self, library):
        form, w = Changing(), library.array(np.asarray([3.0, 4.0], "float32"))
        for form.radius in (2.0, 2.0, 1.0, 4.0):
            result = library.numpy(form(w))
            np.testing.assert_allclose(result, form.radius * np.asarray([0.6, 0.8]), rtol=1e-6)

    @pytest.mark.parametrize("library", [NUMPY, TORCH], ids=str)
    def test_with_an_array_in_another_order_of_memory(self, library):
        """So large that it is measured in blocks; the bound is the last one to move it."""
        with library.active():
            w, turned = (library.array(normal(s)) for s in ((600, 500), (500, 600)))
            turned, lower, upper = turned.T, 500.0, 600.0
            while (bound := (lower + upper) / 2) not in (lower, upper):
                if MaxNorm(bound, None)(turned) is turned:
                    upper = bound
                else:
                    lower = bound
            for bound in (lower, upper):
                form = MaxNorm(bound, None)
                form(w)
                assert (form(turned) is turned) == (bound == upper)

    @every_constraint
    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
    def test_with_tensors_that_record_nothing_in_torch(self, constraint):
        torch = pytest.importorskip("torch")
        w = TORCH.array(example())
        for _ in range(2):
            assert not constraint(w).requires_grad
        leaf = w.clone().requires_grad_()
        assert constraint(leaf).requires_grad
        with pytest.raises(TypeError, match="that is nested: pass"):
            constraint(nested(torch, torch.strided))


@every_constraint
class TestNumpyArraysThatCannotBeWritten:
    def refuse(self, constraint, w, reason):
        before = bits(np.asarray(w))
        with pytest.raises(ValueError, match=f"copy=False cannot write into {reason}"):
            constraint(w, copy=False)
        assert bits(np.asarray(w)) == before

    def test_read_only(self, constraint):
        w = example()
        w.flags.writeable = False
        self.refuse(constraint, w, "a read-only array")

    def test_a_numpy_scalar(self, constraint):
        if constraint != NonNeg():
            constraint = dataclasses.replace(constraint, axis=None)
        self.refuse(constraint, np.float32(-3), "a read-only array")

    def test_expanded(self, constraint):
        w = np.lib.stride_tricks.as_strided(np.ones(3, "f4"), (2, 3), (0, 4), writeable=True)
        self.refuse(constraint, w, "an expanded array")

    def test_overlapping_windows(self, constraint):
        w = np.lib.stride_tricks.as_strided(np.ones(4, "f4"), (3, 2), (4, 4), writeable=True)
        self.refuse(constraint, w, "an expanded array")

    def test_strided_and_reversed_views_are_written(self, constraint):
        base = np.random.default_rng(0).standard_normal((6, 8)).astype("float32")
        for w in (base[::2, 1::3], base[::-1, ::-1], base.T, base[:1], base[:, 2:3]):
            expected = constraint(w)
            constraint(w, copy=False)
            assert bits(w) == bits(expected)

    def test_a_read_only_memmap(self, constraint, tmp_path):
        np.save(tmp_path / "w.npy", example())
        self.refuse(constraint, np.load(tmp_path / "w.npy", mmap_mode="r"), "a read-only array")

    def test_a_writable_memmap_is_written_to_its_file(self, constraint, tmp_path):
        np.save(tmp_path / "w.npy", example())
        w = np.load(tmp_path / "w.npy", mmap_mode="r+")
        assert constraint(w, copy=False) is w
        w.flush()
        assert bits(np.load(tmp_path / "w.npy")) == bits(constraint(example()))

    def test_a_read_only_array_below_array_api_strict(self, constraint):
        import array_api_strict

        w = example()
        w.flags.writeable = False
        with pytest.raises(ValueError, match=r"copy=False cannot write into.*read-only"):
            constraint(array_api_strict.asarray(w, copy=False), copy=False)


@every_constraint
class TestTorchTensorsThatCannotBeWritten:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    def refuse(self, constraint, w, reason):
        before = bits(TORCH.numpy(w))
        with pytest.raises(ValueError, match=f"copy=False cannot write into {reason}"):
            constraint(w, copy=False)
        assert bits(TORCH.numpy(w)) == before

    def test_a_leaf_that_requires_grad(self, constraint, torch):
        w = torch.nn.Parameter(TORCH.array(example()))
        self.refuse(constraint, w, "a leaf that requires grad")
        with torch.no_grad():
            assert constraint(w, copy=False) is w
        assert bits(TORCH.numpy(w)) == bits(TORCH.numpy(constraint(TORCH.array(example()))))

    def test_a_view_that_torch_protects(self, constraint, torch):
        parameter = torch.nn.Parameter(TORCH.array(example()))
        with pytest.raises(ValueError, match="copy=False cannot write into this tensor"):
            constraint((parameter * 1).split(1)[0], copy=False)

    def test_a_view_of_a_leaf_that_requires_grad(self, constraint, torch):
        parameter = torch.nn.Parameter(TORCH.array(example()))
        self.refuse(constraint, parameter[:1], "a leaf that requires grad")
        with torch.no_grad():
            constraint(parameter[:, :1], copy=False)

    def test_expanded(self, constraint, torch):
        self.refuse(constraint, torch.full((1, 3), -5.0).expand(4, 3), "an expanded array")

    def test_an_inference_tensor(self, constraint, torch):
        with torch.inference_mode():
            w = torch.full((2, 2), -5.0)
            inside = w.clone()
            assert constraint(inside, copy=False) is inside
        self.refuse(constraint, w, "an inference tensor outside inference mode")


class TestKept:
    @every_constraint
    @pytest.mark.parametrize("library", LIBRARIES, ids=str)
    def test_shape_dtype_namespace_and_device(self, library, constraint):
        for dtype in library.dtypes:
            with library.active():
                w = library.array(example(dtype))
                result = constraint(w)
                assert type(result) is type(w)
                assert result.shape == w.shape
                assert result.dtype == w.dtype
                if library is not DASK:
                    assert result.device == w.device

    def test_a_numpy_scalar_is_a_0d_array(self):
        result = MaxNorm(2, axis=None)(np.float32(-5))
        assert isinstance(result, np.ndarray)
        assert result.dtype == np.float32
        assert NonNeg()(np.float64(-5)).shape == ()

    def test_the_device_of_array_api_strict_and_its_missing_float64(self):
        import array_api_strict as xp

        for name in ("device1", "no_float64"):
            device = xp.Device(name)
            w = xp.asarray([[3.0], [4.0]], dtype=xp.float32, device=device)
            result = MaxNorm((1.0,))(w)
            assert result.device == device
            assert result.dtype == xp.float32
            violation = MaxNorm(1.0).violation(w)
            expected = xp.float32 if name == "no_float64" else xp.float64
            assert violation.dtype == expected


BAD_ARRAYS = {
    "a list": ([[3.0]], "takes an array, got list: make it an array first, for example with"),
    "a number": (3.0, "takes an array, got float: make it an array first"),
    "None": (None, "takes an array, got NoneType"),
    "masked": (
        np.ma.ones((2, 2)),
        r"takes plain dense arrays, got numpy.*MaskedArray with.*: pass numpy",
    ),
    "matrix": (
        np.ones((2, 2)).view(np.matrix),
        r"takes plain dense arrays, got numpy.*matrix with.*: pass numpy.asarray",
    ),
}


def nested(torch, layout):
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)


def causal_bias(torch):
    from torch.nn.attention.bias import causal_lower_right

    return causal_lower_right(4, 3)


REFUSED_TENSORS = {
    "masked": (
        lambda torch: torch.masked.masked_tensor(torch.ones(2, 2), torch.eye(2) > 0),
        r"takes plain dense arrays, got torch.MaskedTensor.*: pass w.to_tensor\(value\)",
    ),
    "nested": (
        lambda torch: nested(torch, torch.strided),
        r"takes plain dense arrays, got torch.Tensor that is nested: pass.* w.unbind\(\)",
    ),
    "nested parameter": (
        lambda torch: torch.nn.Parameter(nested(torch, torch.strided)),
        r"takes plain dense arrays, got torch.Parameter that is nested: pass",
    ),
    "jagged": (
        lambda torch: nested(torch, torch.jagged),
        r"takes plain dense arrays, got torch.NestedTensor that is nested: pass",
    ),
    "lazy parameter": (
        lambda torch: torch.nn.LazyLinear(3).weight,
        "takes plain dense arrays, got torch.UninitializedParameter without a shape yet: call",
    ),
    "lazy buffer": (
        lambda torch: torch.nn.LazyBatchNorm1d().running_mean,
        "takes plain dense arrays, got torch.UninitializedBuffer without a shape yet: call",
    ),
    "causal bias": (causal_bias, "takes plain dense arrays, got torch.CausalBias without val"),
    "compressed rows": (
        lambda torch: torch.eye(2).to_sparse_csr(),
        "takes plain dense arrays, got torch.Tensor of layout torch.sparse_csr: make it dense",
    ),
    "quantized": (
        lambda torch: torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8),
        "takes a real .* dtype.*, got qint8",
    ),
    "conjugated": (
        lambda torch: torch.ones(2, 2, dtype=torch.complex64).conj(),
        "takes a real .* dtype.*, got complex64",
    ),
}


@every_constraint
class TestOtherTorchTensors:
    """Kinds that need nothing special: results are those on a plain copy."""

    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    def test_with_a_negative_bit(self, torch, constraint):
        w = torch.complex(torch.ones(4, 3), TORCH.array(normal((4, 3)))).conj().imag
        assert w.is_neg()
        assert torch.equal(constraint(w), constraint(w.clone()))
        expected = constraint(w.clone())
        assert torch.equal(constraint(w, copy=False), expected)

    def test_buffers_and_subclasses(self, torch, constraint):
        class Weight(torch.nn.Parameter):
            pass

        class Tagged(torch.Tensor):
            pass

        w = TORCH.array(normal((4, 3)))
        for kind in (torch.nn.Buffer(w), Weight(w), w.as_subclass(Tagged)):
            for call in (constraint, constraint.violation):
                with torch.no_grad():
                    found = call(kind).as_subclass(torch.Tensor)
                torch.testing.assert_close(found, call(w))

    def test_fake_tensors(self, torch, constraint):
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode() as mode:
            w = mode.from_tensor(TORCH.array(normal((4, 3))))
            result = constraint(w)
        assert type(result) is type(w)
        assert (result.shape, result.dtype) == (w.shape, w.dtype)


@every_constraint
class TestRefusedArrays:
    @pytest.mark.parametrize("bad", BAD_ARRAYS)
    def test_what_is_not_a_plain_array(self, constraint, bad):
        w, message = BAD_ARRAYS[bad]
        for call in (constraint, constraint.violation):
            with pytest.raises(TypeError, match=f"{type(constraint).__name__} {message}"):
                call(w)

    def test_dask_arrays_of_masked_arrays(self, constraint):
        import dask.array

        w = dask.array.from_array(np.ma.ones((2, 2)), chunks=1)
        with pytest.raises(TypeError, match="with operators of its own"):
            constraint(w)

    def test_torch_sparse(self, constraint):
        torch = pytest.importorskip("torch")
        constraint(torch.eye(2))  # what is kept for tensors of this type is no answer
        with pytest.raises(
            TypeError, match=r"got torch\.Tensor of layout torch\.sparse_coo: make it"
        ):
            constraint(torch.eye(2).to_sparse())

    @pytest.mark.parametrize("kind", REFUSED_TENSORS)
    def test_kinds_of_torch_tensors(self, constraint, kind):
        torch = pytest.importorskip("torch")
        make, message = REFUSED_TENSORS[kind]
        constraint(torch.ones(2, 2))  # what is kept for tensors of this type is no answer
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # masked and nested tensors are prototypes
            w = make(torch)
            for call in (
                constraint,
                constraint.violation,
                lambda w: constraint(w, copy=False),
                lambda w: constraint(w, copy=True),
                lambda w: array_constraints.apply(constraint, {"w": w}),
            ):
                with pytest.raises(TypeError, match=f"{type(constraint).__name__} {message}"):
                    call(w)

    def test_jax_and_scipy_sparse(self, constraint):
        import scipy.sparse
        from jax.experimental import sparse

        for w in (sparse.BCOO.fromdense(np.eye(2)), scipy.sparse.eye_array(2)):
            with pytest.raises(TypeError, match="make it dense first"):
                constraint(w)

    def test_a_keras_variable_names_the_import_and_its_value(self, constraint):
        import keras

        message = r"import array_constraints\.integrations\.keras, or pass its \.value"
        with pytest.raises(TypeError, match=rf"got keras.Variable: {message}"):
            constraint(keras.Variable(example()))

    def test_complex_and_bool(self, library, constraint):
        with pytest.raises(TypeError, match=r"got (complex64|bool)"):
            constraint(library.array(example() > 0))
        with pytest.raises(TypeError, match="got complex64"):
            constraint(library.array(example().astype("complex64")))


@pytest.mark.parametrize("constraint", CONSTRAINTS[:3], ids=repr)
class TestRefusedByNormConstraints:
    def test_integers(self, library, constraint):
        message = "takes a real floating dtype (float16, bfloat16, float32, float64), got int32"
        with pytest.raises(TypeError, match=re.escape(message)):
            constraint(library.array(np.ones((2, 2), "int32")))

    @pytest.mark.parametrize("axis", [2, -3, (0, 5)])
    def test_an_axis_that_does_not_fit(self, library, constraint, axis):
        c = dataclasses.replace(constraint, axis=axis)
        message = f"{type(c).__name__}: axis {c.axis} does not fit an array of 2 dimensions"
        with pytest.raises(ValueError, match=re.escape(message)):
            c(library.array(example()))

    def test_an_axis_named_twice(self, library, constraint):
        c = dataclasses.replace(constraint, axis=(1, -1))
        with pytest.raises(ValueError, match="names a dimension of 2 twice"):
            c(library.array(example()))

    def test_a_0d_array_without_axis_none(self, library, constraint):
        with pytest.raises(ValueError, match="a 0-d array is one slice with axis=None"):
            constraint(library.array(np.asarray(3.0, "f4")))


@pytest.mark.parametrize("radii", [(1,), (1, 2, 3)])
def test_the_number_of_radii_must_fit(library, radii):
    message = f"has {len(radii)} entries, an array of shape (2, 2) has 2 slices along"
    with pytest.raises(ValueError, match=re.escape(message)):
        MaxNorm(radii)(library.array(example()))


def test_a_radial_kernel_is_square_and_of_rank_4(library):
    for shape in ((3, 3), (3, 4, 1, 1)):
        with pytest.raises(ValueError, match=re.escape(f"got shape {shape}")):
            RadialConstraint()(library.array(np.ones(shape, "f4")))


class TestTheBase:
    def test_it_is_the_identity(self, library: Library):
        w = library.array(example())
        assert Constraint()(w) is w
        copied = Constraint()(w, copy=True)
        assert copied is not w
        assert bits(library.numpy(copied)) == bits(example())
        assert not library.numpy(Constraint().violation(w)).any()

    def test_infinity_is_no_violation_of_the_identity(self, library: Library):
        w = library.array(np.asarray([np.inf, -np.inf, 1.0, np.nan], dtype="float32"))
        violation = library.numpy(Constraint().violation(w))
        np.testing.assert_array_equal(violation, [0, 0, 0, np.nan])

    def test_a_callable_constraint_reports_how_far_it_moves(self, library: Library):
        class Halve(Constraint):
            def __call__(self, w):
                return w / 2

        violation = library.numpy(Halve().violation(library.array(example())))
        np.testing.assert_allclose(violation, np.abs(example()) / 2)

    def test_constraints_do_not_compare_equal_by_being_callables(self):
        class Scale(Constraint):
            def __init__(self, k):
                self.k = k

        assert Scale(1) != Scale(2)
        assert MaxNorm(2) == MaxNorm(2.0)
        assert MaxNorm(2) != MaxNorm(3)
        assert hash(MaxNorm(2, [0, 1])) == hash(MaxNorm(2, (0, 1)))
        assert repr(MaxNorm(2, [0])) == "MaxNorm(max_value=2, axis=(0,))"

    def test_constraints_are_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            MaxNorm().axis = 1
