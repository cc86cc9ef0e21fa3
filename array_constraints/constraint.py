"""Constraint, the three forms that state its mathematics, and the one path of a call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Self

from array_constraints import _acceptance, _arrays, execution, parameters
from array_constraints._change import Change, Factors
from array_constraints._in_memory import InMemory
from array_constraints.numerics.formats import Precision
from array_constraints.parameters import Axis
from array_constraints.typing import Array, Count, Namespace


class Constraint:
    """A set of allowed weights, and the map that brings any weight into it.

    This base is the identity, and the base of constraints written as in Keras: a subclass
    overrides ``__call__``, and ``get_config`` where its constructor takes arguments. A subclass
    of :class:`Elementwise`, :class:`Slicewise` or :class:`WholeSlice` states its mathematics
    instead, and then works lazily, in place and in pieces too.

    Examples
    --------
    >>> import numpy as np
    >>> Constraint()(np.asarray([1.0, -2.0]))
    array([ 1., -2.])
    """

    def __call__(self, w: Any, *, copy: bool | None = None) -> Any:
        """Return ``w``; subclasses return the weight that they allow."""
        w, xp = _acceptance.accepted(type(self).__name__, w, copy)
        return execution.deliver(w, w, copy, xp)

    def violation(self, w: Any) -> Any:
        """Return how far each entry is from its image: ``abs(w - self(w))``, 0 where equal."""
        w, xp = _acceptance.accepted(type(self).__name__, w)
        library = _arrays.library(xp)
        return library.quiet(library.run)(_distance, None, (w, self(w)), xp)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as values that JSON can hold."""
        if is_dataclass(self):
            return {
                field.name: parameters.to_json(getattr(self, field.name))
                for field in fields(self)
                if field.init
            }
        cls = type(self)
        if cls.__init__ is not object.__init__ or cls.__new__ is not object.__new__:
            raise TypeError(
                f"{type(self).__name__} has constructor arguments but no get_config: "
                "define get_config to return them"
            )
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the constraint that ``get_config`` described."""
        if not is_dataclass(cls):
            return cls(**config)
        texts = {field.name for field in fields(cls) if "str" in str(field.type)}
        return cls(
            **{k: v if k in texts else parameters.from_json(v) for k, v in config.items()}
        )


def _distance(form: None, pair: tuple[Array, Array], xp: Namespace) -> Any:
    w, image = pair
    same = xp.equal(w, image)  # two infinities, too
    w, image = (xp.where(same, xp.zeros_like(w), x) for x in (w, image))
    distance = xp.abs(_arrays.accumulated(w, xp) - _arrays.accumulated(image, xp))
    return _arrays.zero_dimensional(distance, xp)


class Form(Constraint, ABC):
    """A constraint whose mathematics the executors know how to run.

    The three forms below are there to be subclassed, best by a frozen dataclass: its fields are
    the config; equality, hash, repr and pickle follow, and JAX compiles it once.

    Examples
    --------
    >>> issubclass(Elementwise, Form), issubclass(Slicewise, Form), issubclass(WholeSlice, Form)
    (True, True, True)
    """

    def __call__(self, w: Any, *, copy: bool | None = None) -> Any:
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
        run = execution.ready(self, w)
        if run is not None:
            return run(w, copy)
        return self._run(w, copy)

    def _run(self, w: Any, copy: bool | None) -> Any:
        w, xp = self._accepted(w, copy)
        return execution.execute(self, w, copy, xp)

    def violation(self, w: Any) -> Any:
        """Return how far the rule is broken: 0 where it holds, in the accumulator's dtype.

        The distance of an entry, or of a slice (dimensions kept), to what is allowed; NaN for
        NaN, and infinity for an infinity that is not allowed.
        """
        w, xp = self._accepted(w)
        return execution.violation(self, w, xp)

    def _accepted(self, w: Any, copy: bool | None = None) -> tuple[Any, Namespace]:
        """Return ``w`` as an array and its namespace, or raise what a call would raise."""
        w, xp = _acceptance.accepted(type(self).__name__, w, copy)
        self.validate(w)
        return w, xp

    def validate(self, w: Array) -> None:
        """Raise where the shape or dtype of ``w`` does not fit; values are never read."""
        _acceptance.require_real_floating(type(self).__name__, w)

    @staticmethod
    def accumulated(w: Array, xp: Namespace) -> Any:
        """Return ``w`` in the dtype to add up in: float64 where library and device have it."""
        return _arrays.accumulated(w, xp)

    @abstractmethod
    def whole(self, w: Array, xp: Namespace) -> Array:
        """Return the allowed weight for all of ``w`` as one expression of ``xp``."""

    @abstractmethod
    def whole_violation(self, w: Array, xp: Namespace) -> Array:
        """Return the violation of all of ``w`` as one expression of ``xp``."""

    def blocked(self, w: Array, copy: bool | None, memory: InMemory, xp: Namespace) -> Any:
        """Return the allowed weight for ``w``, an array at hand; in place as ``copy`` asks."""
        del copy, memory
        return execution.whole(self, w, xp)

    def blocked_violation(self, w: Array, memory: InMemory, xp: Namespace) -> Any:
        """Return the violation of ``w``, an array at hand, by the measure of ``blocked``."""
        del memory
        return self.whole_violation(w, xp)


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

    @abstractmethod
    def project(self, w: Array, xp: Namespace) -> Array:
        """Return the allowed value of each entry of ``w``, in its shape and dtype.

        An entry whose ``excess`` is 0 comes back as it is, bit for bit.
        """

    @abstractmethod
    def excess(self, w: Array, xp: Namespace) -> Array:
        """Return the distance of each entry, in the accumulator's dtype, to what is allowed."""

    def satisfied(self, w: Array, xp: Namespace) -> bool:
        """Whether every entry of ``w``, an array at hand, is allowed; override it for speed."""
        return not bool(xp.any(self.excess(_arrays.accumulated(w, xp), xp)))

    def validate(self, w: Array) -> None:
        _acceptance.require_real_numeric(type(self).__name__, w)

    def whole(self, w: Array, xp: Namespace) -> Array:
        return self.project(w, xp)

    def blocked(self, w: Array, copy: bool | None, memory: InMemory, xp: Namespace) -> Any:
        return execution.in_blocks_of_entries(self, w, copy, memory, xp)

    def whole_violation(self, w: Array, xp: Namespace) -> Array:
        return self.excess(_arrays.accumulated(w, xp), xp)


class _AlongAxis(Form):
    axis: Axis

    def __post_init__(self) -> None:
        """Judge ``axis`` where it is a field; a subclass that overrides this calls it."""
        if is_dataclass(self) and any(field.name == "axis" for field in fields(self)):
            object.__setattr__(self, "axis", parameters.axis(self.axis))

    def validate(self, w: Array) -> None:
        super().validate(w)
        self.axes(w)

    def axes(self, w: Array) -> tuple[int, ...]:
        """Return the dimensions of ``w`` that one slice runs along."""
        return parameters.normalized_axes(type(self).__name__, self.axis, w.ndim)


class Slicewise(_AlongAxis):
    """A constraint on slices along ``axis`` through a few numbers that blocks compute apart.

    A *measure* is a ``NamedTuple`` of what one block of a slice contributes: arrays whose
    sliced dimensions are kept with length 1, the number of entries, and whatever else is known
    without reading a value. ``docs/custom.md`` has an example with all four methods.

    Examples
    --------
    >>> import numpy as np
    >>> from array_constraints import MaxNorm
    >>> c, w = MaxNorm(1.0), np.asarray([[3.0], [4.0]])
    >>> whole = c.merge(c.measure(w[:1], (0,), np), c.measure(w[1:], (0,), np), np)
    >>> c.apply(w[:1], whole, np), c.excess(whole, np)
    (array([[0.6]]), array([[4.]]))
    """

    @abstractmethod
    def measure(self, block: Array, axes: tuple[int, ...], xp: Namespace) -> Any:
        """Return the measure of each slice of ``block``, whose slices run along ``axes``."""

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
        """Return the allowed block, its shape and dtype kept, given the whole measure."""

    def measure_in_memory(
        self, block: Array, axes: tuple[int, ...], memory: InMemory, xp: Namespace
    ) -> Any:
        """Return ``measure`` of a block at hand, whose values may be read."""
        del memory
        return self.measure(block, axes, xp)

    def factor(self, measure: Any, memory: InMemory, xp: Namespace) -> Change:
        """Return what ``apply`` does to each slice, from the values of ``measure``.

        1.0 where all slices are allowed as they are; an array with one factor for each slice;
        None where ``apply`` does anything else; or which slices it is asked for, so that the
        others stay as they are. Only arrays at hand are asked; override it for speed.
        """
        del memory
        excess = self.excess(measure, xp)
        allowed = xp.equal(excess, xp.zeros_like(excess))
        if not bool(xp.any(allowed)):
            return None
        return 1.0 if bool(xp.all(allowed)) else Factors(1.0, ~allowed)

    def factor_of(
        self,
        shape: tuple[int, ...],
        axes: tuple[int, ...],
        precision: Precision,
        memory: InMemory,
        xp: Namespace,
    ) -> Callable[..., Change] | None:
        """Return the function from one block of that shape and format to its change, if any.

        It is kept for the next call, so that what follows from the shape is found once. It
        also takes a list of such blocks, and returns the change of their stack.
        """
        del shape, axes, precision, memory, xp
        return None

    @property
    def uniform(self) -> bool:
        """Whether all slices have the same bounds, so that they may be taken in any order."""
        return True

    def for_slices(
        self, shape: tuple[int, ...], axes: tuple[int, ...], part: tuple[slice, ...]
    ) -> Self:
        """Return the form for the slices in a part of an array of ``shape``."""
        del shape, axes, part
        return self

    @staticmethod
    def count(block: Array, axes: tuple[int, ...], xp: Namespace) -> Count:
        """Return the entries of ``block`` in each slice: an ``int``, or a lazy array."""
        return _arrays.count_entries(block, axes, xp)

    def whole(self, w: Array, xp: Namespace) -> Array:
        measure = self.measure(w, self.axes(w), xp)
        excess = self.excess(measure, xp)
        allowed = xp.equal(excess, xp.zeros_like(excess))
        return xp.where(allowed, w, self.apply(w, measure, xp))

    def whole_violation(self, w: Array, xp: Namespace) -> Array:
        return self.excess(self.measure(w, self.axes(w), xp), xp)

    def blocked(self, w: Array, copy: bool | None, memory: InMemory, xp: Namespace) -> Any:
        if not self.uniform:
            return super().blocked(w, copy, memory, xp)
        return execution.in_blocks_of_slices(self, w, self.axes(w), copy, memory, xp)

    def blocked_violation(self, w: Array, memory: InMemory, xp: Namespace) -> Any:
        if not self.uniform:
            return super().blocked_violation(w, memory, xp)
        return execution.violation_in_blocks(self, w, self.axes(w), memory, xp)


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

    @abstractmethod
    def project(self, slices: Array, xp: Namespace) -> Array:
        """Return the allowed slices, in the same shape."""

    @abstractmethod
    def excess(self, slices: Array, xp: Namespace) -> Array:
        """Return how far each slice is from what is allowed, its dimensions kept."""

    def whole(self, w: Array, xp: Namespace) -> Array:
        order = self._order(w)
        back = tuple(order.index(i) for i in range(w.ndim))
        return xp.permute_dims(self.project(xp.permute_dims(w, order), xp), back)

    def whole_violation(self, w: Array, xp: Namespace) -> Array:
        order = self._order(w)
        back = tuple(order.index(i) for i in range(w.ndim))
        slices = xp.permute_dims(_arrays.accumulated(w, xp), order)
        return xp.permute_dims(self.excess(slices, xp), back)

    def _order(self, w: Array) -> tuple[int, ...]:
        axes = self.axes(w)
        return tuple(i for i in range(w.ndim) if i not in axes) + axes
