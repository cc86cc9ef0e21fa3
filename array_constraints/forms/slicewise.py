"""The forms of constraints on slices, of which a few numbers are known."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from array_constraints import reductions
from array_constraints.forms.form import AlongAxis, Needs
from array_constraints.libraries import of_namespace
from array_constraints.numerics import rescaling
from array_constraints.numerics.formats import Precision
from array_constraints.numerics.margins import Interval, Number
from array_constraints.numerics.rescaling import Size
from array_constraints.typing import A, Array, Count, Namespace

Measuring: TypeAlias = Callable[[Array, tuple[int, ...], Namespace], A]
Sizing: TypeAlias = Callable[[Any, Namespace], Array | Size]


class Slicewise(AlongAxis):
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
    rounds: ClassVar[int] = 1
    """How often slices are measured at most; at 1, by default, ``next`` is never asked.

    Lazy and traced arrays are measured as often: no value says that it would be enough.
    """
    _project_at_once: Any = None
    """``(w, axes, xp)``: the projection of an array in memory, by a faster way than rounds."""
    _stated_derivative: Any = None
    """A derivative that is stated, because to differentiate the value would round too much."""

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

    def next(self, measure: Any, xp: Namespace) -> Slicewise | None:
        """Return the form that measures again, given the whole measure; None if that is all.

        A constraint whose slices need several rounds of measuring returns what the next round
        measures, merges and asks for in its turn, for the slices of ``measure``; executors ask
        it ``for_part``, too. The last one applies, and its excess is 0 where a slice stays.
        """
        return None

    @abstractmethod
    def apply(self, block: Array, measure: Any, xp: Namespace) -> Array:
        """Return the allowed block, its shape and dtype kept, given the whole measure.

        What it returns for a slice without excess does not count: that stays as it is.
        """


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
