"""Types: arrays, namespaces, axes, bounds; and the names of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Protocol, SupportsIndex, TypeAlias, TypeVar


class Array(Protocol):
    """An array, as far as it is used beside the functions of its namespace."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, key: Any, /) -> Array: ...
    def __invert__(self) -> Array: ...
    def __neg__(self) -> Array: ...
    def __add__(self, other: Any, /) -> Array: ...
    def __radd__(self, other: Any, /) -> Array: ...
    def __sub__(self, other: Any, /) -> Array: ...
    def __rsub__(self, other: Any, /) -> Array: ...
    def __mul__(self, other: Any, /) -> Array: ...
    def __rmul__(self, other: Any, /) -> Array: ...
    def __truediv__(self, other: Any, /) -> Array: ...
    def __rtruediv__(self, other: Any, /) -> Array: ...
    def __lt__(self, other: Any, /) -> Array: ...
    def __le__(self, other: Any, /) -> Array: ...
    def __gt__(self, other: Any, /) -> Array: ...
    def __ge__(self, other: Any, /) -> Array: ...
    def __and__(self, other: Array, /) -> Array: ...
    def __or__(self, other: Array, /) -> Array: ...


Axes: TypeAlias = int | tuple[int, ...] | None
_OfOne: TypeAlias = Callable[[Array], Array]
_OfTwo: TypeAlias = Callable[[Array, Array], Array]


class Namespace(Protocol):
    """The functions of the array API standard that forms compute with."""

    __name__: str
    float32: Any
    float64: Any
    int8: Any
    int32: Any
    int64: Any
    inf: float
    nan: float
    pi: float
    linalg: Any

    abs: _OfOne
    acos: _OfOne
    acosh: _OfOne
    asin: _OfOne
    asinh: _OfOne
    atan: _OfOne
    atanh: _OfOne
    ceil: _OfOne
    cos: _OfOne
    cosh: _OfOne
    exp: _OfOne
    expm1: _OfOne
    floor: _OfOne
    isfinite: _OfOne
    isinf: _OfOne
    isnan: _OfOne
    log: _OfOne
    log10: _OfOne
    log1p: _OfOne
    log2: _OfOne
    logical_not: _OfOne
    matrix_transpose: _OfOne
    negative: _OfOne
    ones_like: _OfOne
    positive: _OfOne
    reciprocal: _OfOne
    round: _OfOne
    sign: _OfOne
    signbit: _OfOne
    sin: _OfOne
    sinh: _OfOne
    sqrt: _OfOne
    square: _OfOne
    tan: _OfOne
    tanh: _OfOne
    trunc: _OfOne
    zeros_like: _OfOne

    add: _OfTwo
    atan2: _OfTwo
    copysign: _OfTwo
    divide: _OfTwo
    equal: _OfTwo
    floor_divide: _OfTwo
    greater: _OfTwo
    greater_equal: _OfTwo
    hypot: _OfTwo
    less: _OfTwo
    less_equal: _OfTwo
    logaddexp: _OfTwo
    logical_and: _OfTwo
    logical_or: _OfTwo
    logical_xor: _OfTwo
    matmul: _OfTwo
    maximum: _OfTwo
    minimum: _OfTwo
    multiply: _OfTwo
    nextafter: _OfTwo
    not_equal: _OfTwo
    pow: _OfTwo
    remainder: _OfTwo
    subtract: _OfTwo

    def __array_namespace_info__(self) -> Any: ...
    def all(self, x: Array, /, *, axis: Axes = ..., keepdims: bool = ...) -> Array: ...
    def any(self, x: Array, /, *, axis: Axes = ..., keepdims: bool = ...) -> Array: ...
    def arange(
        self,
        start: float,
        /,
        stop: float | None = ...,
        step: float = ...,
        *,
        dtype: Any = ...,
        device: Any = ...,
    ) -> Array: ...
    def argmax(self, x: Array, /, *, axis: int | None = ..., keepdims: bool = ...) -> Array: ...
    def argmin(self, x: Array, /, *, axis: int | None = ..., keepdims: bool = ...) -> Array: ...
    def argsort(self, x: Array, /, *, axis: int = ..., descending: bool = ...) -> Array: ...
    def asarray(
        self, obj: Any, /, *, dtype: Any = ..., device: Any = ..., copy: bool | None = ...
    ) -> Array: ...
    def astype(self, x: Array, dtype: Any, /, *, copy: bool = ...) -> Array: ...
    def broadcast_to(self, x: Array, /, shape: tuple[int, ...]) -> Array: ...
    def clip(
        self, x: Array, lower: float | Array | None = ..., upper: float | Array | None = ..., /
    ) -> Array: ...
    def concat(
        self, arrays: tuple[Array, ...] | list[Array], /, *, axis: int | None = ...
    ) -> Array: ...
    def count_nonzero(
        self, x: Array, /, *, axis: Axes = ..., keepdims: bool = ...
    ) -> Array: ...
    def cumulative_sum(self, x: Array, /, *, axis: int | None = ...) -> Array: ...
    def expand_dims(self, x: Array, /, *, axis: int = ...) -> Array: ...
    def finfo(self, dtype: Any, /) -> Any: ...
    def flip(self, x: Array, /, *, axis: Axes = ...) -> Array: ...
    def full_like(self, x: Array, /, fill_value: float) -> Array: ...
    def max(self, x: Array, /, *, axis: Axes = ..., keepdims: bool = ...) -> Array: ...
    def mean(self, x: Array, /, *, axis: Axes = ..., keepdims: bool = ...) -> Array: ...
    def min(self, x: Array, /, *, axis: Axes = ..., keepdims: bool = ...) -> Array: ...
    def moveaxis(self, x: Array, source: Axes, destination: Axes, /) -> Array: ...
    def ones(
        self, shape: tuple[int, ...], /, *, dtype: Any = ..., device: Any = ...
    ) -> Array: ...
    def permute_dims(self, x: Array, /, axes: tuple[int, ...]) -> Array: ...
    def prod(self, x: Array, /, *, axis: Axes = ..., keepdims: bool = ...) -> Array: ...
    def reshape(self, x: Array, /, shape: tuple[int, ...]) -> Array: ...
    def sort(self, x: Array, /, *, axis: int = ..., descending: bool = ...) -> Array: ...
    def squeeze(self, x: Array, /, axis: Axes) -> Array: ...
    def stack(
        self, arrays: tuple[Array, ...] | list[Array], /, *, axis: int = ...
    ) -> Array: ...
    def sum(self, x: Array, /, *, axis: Axes = ..., keepdims: bool = ...) -> Array: ...
    def take(self, x: Array, indices: Array, /, *, axis: int | None = ...) -> Array: ...
    def take_along_axis(self, x: Array, indices: Array, /, *, axis: int = ...) -> Array: ...
    def tril(self, x: Array, /, *, k: int = ...) -> Array: ...
    def triu(self, x: Array, /, *, k: int = ...) -> Array: ...
    def where(self, condition: Array, x1: float | Array, x2: float | Array, /) -> Array: ...
    def zeros(
        self, shape: tuple[int, ...], /, *, dtype: Any = ..., device: Any = ...
    ) -> Array: ...


Count: TypeAlias = int | Array  # an array only where the library does not know its own shape

A = TypeVar("A")
"""An array of any library, or what holds one: a call returns what it was given."""

W = TypeVar("W", covariant=True)


class Castable(Protocol[W]):
    """An array whose type may change with its dtype, as NumPy's does.

    ``W`` is its type with a dtype that is not known.
    """

    def astype(self, dtype: str, /) -> W: ...


class Numbers(Protocol):
    """Numbers in an array, or a scalar, of a library."""

    @property
    def ndim(self) -> int: ...
    def tolist(self) -> Any: ...


Axis: TypeAlias = int | tuple[int, ...] | Literal["incoming"] | None
"""An axis as a constraint keeps it."""

AxisLike: TypeAlias = SupportsIndex | Sequence[SupportsIndex] | Literal["incoming"] | None
"""What is taken for an axis: lists, and the integers of a library, too."""

Bound = Annotated[float | tuple[float, ...], "data"]
"""The type of a dataclass field whose value is data: no program is compiled anew for another.

One number, or one for each slice. Under ``jax.jit`` the field holds a traced array while the
form runs: it may be computed with, and not be compared in an ``if``.
"""

NumberLike: TypeAlias = float | Numbers
"""What is taken for a number: the scalars of a library, and what is traced, too."""

BoundLike: TypeAlias = NumberLike | Sequence[NumberLike]
"""What is taken for a number, or for a list or tuple with one for each slice."""

Map: TypeAlias = Callable[[Any], Any]
"""A constraint, or any callable that maps a weight."""


def name_of(cls: Any) -> str:
    """Return the name of a class as it stands in the source.

    ``__name__`` is another where the Keras integration registers a class.
    """
    name: str = cls.__qualname__
    return name.rpartition(".")[2]
