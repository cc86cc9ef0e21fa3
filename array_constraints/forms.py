"""Forms state the mathematics of a constraint, and nothing of how it is run.

The four forms are there to be subclassed, best by a frozen dataclass: its fields are the
config; equality, hash, repr and pickle follow, and JAX compiles it once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, overload

from array_constraints import parameters, reductions
from array_constraints.constraint import Constraint
from array_constraints.executors import acceptance, run
from array_constraints.libraries import of_namespace
from array_constraints.numerics import rescaling
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.margins import Interval, Number
from array_constraints.numerics.rescaling import Size
from array_constraints.typing import A, Array, Castable, Count, Namespace, name_of

Needs: TypeAlias = Literal["entries", "measures", "sizes", "slices"]
Measuring: TypeAlias = Callable[[Array, tuple[int, ...], Namespace], A]
Sizing: TypeAlias = Callable[[Any, Namespace], Array | Size]


class Form(Constraint, ABC):
    """A constraint whose mathematics the executors know how to run.

    Examples
    --------
    >>> issubclass(Elementwise, Form), issubclass(Rescaling, Slicewise)
    (True, True)
    """

    needs: ClassVar[Needs]
    """The part of a weight that has to be known at once to constrain an entry."""

    def __call__(self, w: A, *, copy: bool | None = None) -> A:
        """Return the allowed weight for ``w``: same namespace, shape, dtype and device.

        Parameters
        ----------
        w
            An array of any library that follows the array API standard.
        copy
            ``None``: ``w`` is never modified, and may itself be returned where nothing changes.
            ``True``: always a new array. ``False``: writes into ``w`` and returns it.

        Raises
        ------
        TypeError
            If ``w`` is not an array, or its dtype is not one that this constraint takes.
        ValueError
            If the shape or axis does not fit, or ``copy=False`` and ``w`` cannot be written.
        """
        result: A = run.run(self, w, copy)
        return result

    _call_of_forms = __call__  # a class that overrides the one above still has this

    @overload
    def violation(self, w: Castable[A]) -> A: ...
    @overload
    def violation(self, w: A) -> A: ...
    def violation(self, w: Any) -> Any:
        """Return how far the rule is broken: 0 where it holds, in the accumulator's dtype.

        The distance of an entry, or of a slice (dimensions kept), to what is allowed; NaN for
        NaN, and infinity for an infinity that is not allowed.
        """
        return run.violation(self, w)

    def validate(self, w: Array) -> None:
        """Raise where the shape or dtype of ``w`` does not fit; values are never read."""
        acceptance.require_real_floating(name_of(type(self)), w)


class Elementwise(Form):
    """A constraint on each entry alone; takes any real numeric dtype.

    Examples
    --------
    >>> import numpy as np
    >>> class NonPositive(Elementwise):
    ...     def project(self, w, xp):
    ...         return xp.where(w > 0, xp.zeros_like(w), w)
    ...     def excess(self, w, xp):
    ...         return xp.maximum(w, xp.zeros_like(w))
    >>> w = np.asarray([-1, 2])
    >>> NonPositive()(w), NonPositive().violation(w)
    (array([-1,  0]), array([0., 2.]))
    """

    needs: ClassVar[Needs] = "entries"
    _project_in_place: Any = None
    """``(w, outside, xp)``: write the projection of an array at hand into it."""

    @abstractmethod
    def project(self, w: Array, xp: Namespace) -> Array:
        """Return the allowed value of each entry of ``w``, in its shape and dtype.

        An entry whose ``excess`` is 0 comes back as it is, bit for bit.
        """

    @abstractmethod
    def excess(self, w: Array, xp: Namespace) -> Array:
        """Return the distance of each entry, in the accumulator's dtype, to what is allowed."""

    def outside(self, w: Array, xp: Namespace) -> Array:
        """Return which entries are not allowed; NaN may be among them.

        Those whose ``excess`` is not 0; a subclass may know it from ``w`` as it is.
        """
        excess = self.excess(reductions.accumulated(w, xp), xp)
        return ~xp.equal(excess, xp.zeros_like(excess))

    def _outside_at_hand(self, w: Any, xp: Namespace) -> Any:
        """Return which entries of an array at hand are not allowed; None if all are."""
        outside = self.outside(w, xp)
        library: Any = of_namespace(xp)
        return outside if library.some(outside) else None

    def validate(self, w: Array) -> None:
        acceptance.require_real_numeric(name_of(type(self)), w)


class _AlongAxis(Form):
    axis: Any  # an `Axis`, or less: the type of an attribute cannot be narrowed in a subclass

    def __post_init__(self) -> None:
        """Judge ``axis`` where it is a field; a subclass that overrides this calls it."""
        if is_dataclass(self) and "axis" in type(self).__dataclass_fields__:
            object.__setattr__(self, "axis", parameters.axis(self.axis))

    def validate(self, w: Array) -> None:
        super().validate(w)
        parameters.axes_of(self, w)


class Slicewise(_AlongAxis):
    """A constraint on slices along ``axis`` through a few numbers that blocks compute apart.

    A *measure* is a ``NamedTuple`` of what one block of a slice contributes: arrays whose
    sliced dimensions are kept with length 1, the number of entries, and whatever else is known
    without reading a value. :mod:`array_constraints.reductions` has what measures are made of;
    ``docs/custom.md`` has an example with all four methods.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import MaxNorm
    >>> c, w = MaxNorm(1.0), np.asarray([[3.0], [4.0]])
    >>> whole = c.merge(c.measure(w[:1], (0,), np), c.measure(w[1:], (0,), np), np)
    >>> c.apply(w[:1], whole, np), c.excess(whole, np)
    (array([[0.6]]), array([[4.]]))
    """

    needs: ClassVar[Needs] = "measures"

    if TYPE_CHECKING:  # a static method will do, which checkers allow for an attribute only
        measure: Measuring[Any]
    else:

        @abstractmethod
        def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Any:
            """Return the measure of each slice of ``block``, which runs along ``axes``."""

    @abstractmethod
    def merge(self, a: Any, b: Any, xp: Namespace) -> Any:
        """Return the measure of two blocks of the same slices taken together.

        Commutative and, within roundoff, associative: blocks are merged in any order.
        """

    @abstractmethod
    def excess(self, measure: Any, xp: Namespace) -> Array:
        """Return how far each slice is from what is allowed, from its measure alone."""

    @abstractmethod
    def apply(self, block: Array, measure: Any, xp: Namespace) -> Array:
        """Return the allowed block, its shape and dtype kept, given the whole measure.

        What it returns for a slice without excess does not count: that stays as it is.
        """

    def for_part(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        """Return the form for the slices in a part of an array of ``shape``.

        A form whose slices have parameters of their own overrides it.
        """
        return self


class Rescaling(Slicewise):
    """A constraint that rescales each slice so that its size lies in an interval.

    The size is absolutely homogeneous, as a norm is: of a slice twice as large it is twice as
    large. A subclass states what it is made of (``measure``, ``merge``), the ``size``, the
    ``interval``, and how exact the size is; ``excess`` and ``apply`` are derived, and so is the
    margin by which a rescaled slice keeps inside its bound.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import reductions
    >>> class L1Ball(Rescaling):
    ...     axis = 0
    ...     measure = staticmethod(reductions.sum_of_magnitudes)
    ...     size = staticmethod(reductions.norm)
    ...     def interval(self):
    ...         return Interval(0.0, 1.0)
    >>> L1Ball()(np.asarray([3.0, -5.0]))
    array([ 0.375, -0.625])
    """

    needs: ClassVar[Needs] = "sizes"
    _derivative: Any = None
    """A derivative that is stated, because to differentiate the value would round too much."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Take a class with its own ``excess`` or ``apply`` as any slicewise one."""
        super().__init_subclass__(**options)
        if cls.excess is not Rescaling.excess or cls.apply is not Rescaling.apply:
            cls.needs = "measures"

    def merge(self, a: Any, b: Any, xp: Namespace) -> Any:
        """Return the measure of two blocks, here of one of the sums of ``reductions``."""
        return reductions.merge(a, b, xp)

    if TYPE_CHECKING:  # as for `measure`
        size: Sizing
    else:

        @abstractmethod
        def size(self, measure: Any, xp: Namespace) -> Array | Size:
            """Return the size of each slice; a root as its square: see ``reductions.Size``.

            ``measure`` has the fields ``entries`` and ``precision``, as the sums of
            ``reductions``.
            """

    @abstractmethod
    def interval(self) -> Interval:
        """Return the allowed sizes, and the rate at which a slice moves there."""

    def roundoffs(self, entries: Count, precision: Precision) -> Number:
        """Return how many roundoffs of the accumulator ``size`` may be off, relative to it.

        By default as many as a sum of magnitudes.
        """
        return reductions.roundoffs_of_sum(entries, precision)

    def excess(self, measure: Any, xp: Namespace) -> Array:
        return rescaling.excess(rescaling.sizes_of(self, measure, of_namespace(xp)))

    def apply(self, block: Array, measure: Any, xp: Namespace) -> Array:
        library = of_namespace(xp)
        return rescaling.rescaled(block, rescaling.sizes_of(self, measure, library), library)


class WholeSlice(_AlongAxis):
    """A constraint that needs all entries of a slice at once: a sort, a matrix.

    Its methods see ``slices``, whose last dimensions are those of ``axis`` and whose leading
    dimensions number the slices.

    Examples
    --------
    >>> import numpy as np
    >>> class Sorted(WholeSlice):
    ...     axis = 0
    ...     def project(self, slices, xp):
    ...         return xp.sort(slices, axis=-1)
    ...     def excess(self, slices, xp):
    ...         moved = xp.abs(slices - xp.sort(slices, axis=-1))
    ...         return xp.max(moved, axis=-1, keepdims=True)
    >>> w = np.asarray([3.0, 1.0, 2.0])
    >>> Sorted()(w), Sorted().violation(w)
    (array([1., 2., 3.]), array([2.]))
    """

    needs: ClassVar[Needs] = "slices"

    @abstractmethod
    def project(self, slices: Array, xp: Namespace) -> Array:
        """Return the allowed slices, in the same shape."""

    @abstractmethod
    def excess(self, slices: Array, xp: Namespace) -> Array:
        """Return how far each slice is from what is allowed, its dimensions kept."""
