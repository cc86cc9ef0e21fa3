"""How an array, a namespace or a traced number finds its library."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from libraries import bits

from array_constraints import MaxNorm, apply, libraries
from array_constraints.libraries import Library, table, traced
from array_constraints.libraries.cupy import Cupy
from array_constraints.libraries.numpy import NUMPY
from array_constraints.libraries.sparse import Sparse
from array_constraints.libraries.strict import Strict


def test_what_a_library_leaves_to_its_subclasses_is_abstract():
    """A method that has a docstring alone: a type checker then asks for it in each subclass."""
    folder = Path(libraries.__file__).parent
    left = [
        (node.name, [ast.unparse(each) for each in node.decorator_list])
        for path in sorted(folder.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
        and len(node.body) == 1
        and ast.get_docstring(node) is not None
    ]
    assert "memory_order" in dict(left)
    assert [name for name, decorators in left if decorators != ["abstractmethod"]] == []


class TestNames:
    @pytest.fixture(autouse=True)
    def nothing_found_yet(self, monkeypatch):
        monkeypatch.setattr(table, "_BY_NAME", {})

    def test_lead_to_the_file_of_a_library(self):
        found = {
            name: type(libraries.of_namespace(ModuleType(name)))
            for name in ("array_api_strict", "sparse")
        }
        assert found == {"array_api_strict": Strict, "sparse": Sparse}
        assert libraries.of_namespace(ModuleType("array_api_compat.numpy")) is NUMPY

    def test_of_other_libraries_lead_to_the_base(self):
        known = ("array_api_strict", "dask.array", "jax.numpy", "numpy", "sparse", "torch")
        for name in [other for own in known for other in (own[:-1], f"{own}x")]:
            xp = ModuleType(name)
            found = libraries.of_namespace(xp)
            assert type(found) is Library, name
            assert found.xp is xp


class Read:
    """A number that was read from somewhere: it looks like an array, of no library."""

    dtype, shape, ndim = "float32", (), 0

    def item(self):
        return 2.0


class TestNumbersThatAreTraced:
    def test_are_none_that_have_a_value(self):
        for number in (2, 2.0, "2", None, Read(), np.float32(2), np.ones(2), ModuleType("two")):
            assert traced(number) is False, number

    def test_are_no_numbers_of_a_library_that_is_not_known(self):
        assert MaxNorm(Read()) == MaxNorm(2.0)

    def test_are_those_that_a_compiler_has_no_value_of_yet(self):
        jax = pytest.importorskip("jax")
        found = []
        for number in (2.0, np.ones(2)):
            array = jax.numpy.asarray(number)
            jax.jit(lambda x: (found.append(traced(x)), x)[1])(array)
            found.append(traced(array))
        assert found == [True, False] * 2


def test_arrays_of_numpy_are_constrained_where_no_other_library_is_installed(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setitem(sys.modules, "array_constraints.libraries.jax", None)  # not to import
    w = np.full((4, 3), 2.0)
    assert bits(apply(MaxNorm(1.0), {"w": w})["w"]) == bits(MaxNorm(1.0)(w))


def test_tied_arrays_are_the_same_entries_of_one_memory():
    w, other = np.zeros((3, 3)), np.zeros((3, 3))
    views = [w[:], other, other[:], w, w.T, w[:2], w.view("i8"), w[:], "none", w.T]
    assert libraries.ties([w, *views]) == [0, 0, 2, 2, 0, 5, 6, 7, 0, 9, 5]


def test_what_cupy_needs_is_found_from_bits_and_strides():
    """Here of NumPy's arrays, which have both in the same way; CuPy's are in ``tests/gpu``."""
    cupy = Cupy(NUMPY.xp)
    entries = np.asarray([-1.0, -1e-45, -0.0, 0.0, 1e-45, np.nan, -np.inf], "float32")
    assert cupy.negative(entries).tolist() == [True, True, False, False, False, False, True]
    assert cupy.unwritable(entries) is None
    assert "expanded" in cupy.unwritable(np.broadcast_to(entries, (3, 7)))
