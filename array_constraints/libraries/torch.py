"""PyTorch: kernels and thresholds beside each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

import array_api_compat.torch
import torch

from array_constraints.libraries import torch_autograd, torch_kinds, torch_rows, torch_sharded
from array_constraints.libraries.block_sums import sparing
from array_constraints.libraries.strided import by_stride, overlapping
from array_constraints.libraries.thresholds.torch import TorchThresholds
from array_constraints.libraries.torch_entries import TorchEntries
from array_constraints.numerics.sums import Term, largest_magnitude, pairwise_sum, plain_sum
from array_constraints.typing import Array


class Torch(TorchEntries):
    """PyTorch's tensors and parameters, on any device, sharded ones too."""

    finding_thresholds = TorchThresholds
    partial_from = 2**16  # below, one pass in float64 is faster

    def refused(self, w: Any) -> str | None:
        """Return what kind of tensor ``w`` is, if not a dense one with values."""
        return torch_kinds.refused(w)

    def has_float64(self, w: Any) -> bool:
        found: bool = w.device.type != "mps"  # Metal has no float64
        return found

    def traced(self, number: Any) -> bool:
        tracing: bool = torch.compiler.is_compiling()
        return tracing

    def constant(self, numbers: Any, like: Any, *, alike: bool = False) -> Any:
        return torch_sharded.beside(super().constant(numbers, like, alike=alike), like)

    def operand(self, bound: Any, like: Any) -> Any:
        """Make a number a tensor where it is traced: a program is not made anew for another."""
        if not torch.compiler.is_compiling():
            return super().operand(bound, like)
        if isinstance(bound, tuple):
            bound = torch.stack([self._scalar(number, like) for number in bound])
        elif not isinstance(bound, torch.Tensor):
            bound = self._scalar(bound, like)
        return super().operand(bound, like)

    def _scalar(self, number: Any, like: Any) -> Any:
        return torch.scalar_tensor(number, dtype=like.dtype, device=like.device)

    # torch.sum adds in a cascade: up to 257 roundoffs at 2**22 entries, enough only where the
    # accumulator has spare digits; there it is one pass instead of log2 n.

    def _add(self, x: Any, scale: Any, axes: tuple[int, ...], term: Term) -> Array:
        if torch_sharded.is_sharded(x):
            return torch_sharded.tree_sum(x, scale, axes, self.xp, term)
        return pairwise_sum(x, scale, axes, self.xp, term)

    def _add_in_any_order(self, x: Any, scale: Any, axes: tuple[int, ...], term: Term) -> Any:
        total = plain_sum(x, scale, axes, self.xp, term)
        sharded = torch_sharded.is_sharded(total)
        return torch_sharded.without_pending_sums(total) if sharded else total

    def largest_magnitude(self, x: Any, axes: tuple[int, ...]) -> Array:
        if torch_sharded.is_sharded(x):
            return torch_sharded.largest(x, axes, self.xp)
        return largest_magnitude(x, axes, self.xp)

    def run(self, function: Callable[..., Any], form: Any, w: Any) -> Any:
        """Run it; what has the shape of a DTensor is sharded as it is."""
        return torch_sharded.placed(function(form, w, self.xp), w)

    def differentiated(
        self, value: Callable[..., Any], derivative: Callable[..., Any], w: Any, bounds: Any
    ) -> Any:
        return torch_autograd.stated(
            lambda w: value(w, bounds), lambda w, tangent: derivative(w, tangent, bounds), w
        )

    def is_eager(self, w: Any) -> bool:
        return not (torch.compiler.is_compiling() or w.is_nested)  # which has no shape

    def at_hand(self, w: Any) -> bool:
        """Whether nobody traces, records or maps over ``w``, or keeps it elsewhere."""
        return w.is_cpu and torch_kinds.is_plain(w)

    def on_device(self, w: Any) -> bool:
        return not w.is_cpu and torch_kinds.is_plain(w)

    def memory_order(self, w: Any) -> tuple[int, ...] | None:
        return None if w.is_contiguous() else by_stride(w.stride())

    def empty_like(self, w: Any) -> Any:
        return torch.empty_like(w)

    def largest(self, x: Any) -> float:
        return float(x.max())

    def smallest(self, x: Any) -> float:
        return float(x.min())

    def number(self, x: float) -> Any:
        """Return a tensor: a Python number is made one at each call."""
        return torch.tensor(x, dtype=torch.float64, device="cpu")

    def multiply(self, w: Any, factor: Any, out: Any) -> None:
        """Multiply in parts where a factor is wider: PyTorch widens all that it multiplies."""
        if factor.dtype == w.dtype or w.numel() <= 2**15:
            torch.mul(w, factor, out=out)
            return
        alike = [i for i in range(w.ndim) if factor.shape[i] == 1]
        along = max(alike or range(w.ndim), key=lambda i: w.shape[i])
        step = max(1, max(w.numel() // 8, 2**15) * w.shape[along] // w.numel())
        factor = factor.expand(w.shape)
        parts = (x.split(step, along) for x in (w, factor, out))
        for part, factors, place in zip(*parts, strict=True):
            torch.mul(part, factors, out=place)

    def nondecreasing(self, x: Any) -> Any:
        if torch.compiler.is_compiling():
            return _nondecreasing(x.detach())
        return super().nondecreasing(x)

    def sums_of_runs(self, x: Any, starts: Any) -> Any:
        """Return the sums of the runs of a row of numbers that begin at some indices."""
        lengths = torch.diff(starts, append=starts.new_tensor([x.numel()]))
        runs = torch.repeat_interleave(lengths)
        return torch.zeros_like(x[: len(starts)]).index_add_(0, runs, x)

    def kind_of(self, w: Any) -> Any:
        return w.data_ptr(), w.shape, w.stride()

    def multiply_in_place(self, arrays: list[Any], factors: list[Any]) -> None:
        torch._foreach_mul_(arrays, factors)

    def sums_on_device(self, power: int, arrays: list[Any], axes: list[tuple[int, ...]]) -> Any:
        """Return the sums of powers in float64 as one tensor of one dimension: few kernels."""
        wide = [w.double() for w in arrays]
        terms = torch._foreach_mul(wide, wide) if power == 2 else torch._foreach_abs(wide)
        pairs = zip(terms, axes, strict=True)
        return torch.cat([term.sum(along, True).view(-1) for term, along in pairs])

    def apart(self, x: Any, shapes: list[tuple[int, ...]]) -> list[Any]:
        parts = x.split([math.prod(shape) for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def where(self, condition: Any, x1: Any, x2: Any) -> Any:
        return torch.where(condition, x1, x2)

    def multiply_each(self, arrays: list[Any], factors: list[Any]) -> list[Any]:
        return list(torch._foreach_mul(arrays, factors)) if arrays else []

    def rows_with_any(self, x: Any) -> list[bool]:
        found: list[bool] = x.reshape(x.shape[0], -1).any(dim=1).tolist()
        return found

    def are_rows(self, w: Any, axes: tuple[int, ...]) -> bool:
        return torch_rows.are_rows(w, axes)

    def bound_sums(
        self, power: int, arrays: list[Any], axes: list[tuple[int, ...]]
    ) -> Callable[[], Any]:
        if all(map(torch_rows.are_rows, arrays, axes)):
            return torch_rows.SumsOfMany(power, arrays, axes)
        return super().bound_sums(power, arrays, axes)

    def _is_one_pass(self, w: Any, axes: tuple[int, ...]) -> bool:
        if super()._is_one_pass(w, axes):
            return True
        alike = torch_rows.are_rows(w, axes) or torch_rows.are_columns(w, axes)
        return alike and self.precision(w).any_order

    def _sum_wide(self, x: Any, axes: tuple[int, ...], power: int) -> Any:
        if torch_rows.are_rows(x, axes):
            return torch_rows.sums(x, axes, power, sparing.get())
        if sparing.get() and torch_rows.are_columns(x, axes):
            return torch_rows.sums_of_columns(x, axes, power)
        terms = torch_rows.powers(x, power, torch.float64)
        return terms.sum(axes, True) if axes else terms

    def _sum_wide_each(self, arrays: list[Any], axes: tuple[int, ...], power: int) -> Any:
        count, inner = max(1, 2**15 // arrays[0].numel()), tuple([i + 1 for i in axes])
        stacks = (torch.stack(arrays[i : i + count]) for i in range(0, len(arrays), count))
        return torch.cat([self._sum_wide(stack, inner, power) for stack in stacks])

    def _add_entries(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Add in parts of some 256 KiB in float64: PyTorch widens all that it adds."""
        if not axes:
            return x.double()
        parts = -(-x.numel() // min(max(x.numel() // 8, 2**13), 2**15))
        if parts == 1 or x.dtype == torch.float64:
            return x.sum(axes, True, dtype=torch.float64)
        free = [i for i in range(x.ndim) if i not in axes and x.shape[i] >= parts]
        along = max(free or range(x.ndim), key=lambda i: x.shape[i])
        chunks = torch.chunk(x, parts, along)
        sums = [chunk.sum(axes, True, dtype=torch.float64) for chunk in chunks]
        return torch.stack(sums).sum(0) if along in axes else torch.cat(sums, along)

    def _add_middle(self, x: Any) -> Any:
        """Sum over the last dimension where the third is 1: it would be the inner loop."""
        if x.shape[2] == 1:
            return torch.sum(x.squeeze(2), dim=1, keepdim=True, dtype=torch.float64)
        return torch.sum(x, dim=1, dtype=torch.float64)

    def _add_in_parts(self, x: Any, power: int, wide: Any) -> Any:
        """Take the block at once, the fastest: a half of it where it is widened.

        Where memory is spared, up to quarters, of at least 128 KiB each: in steps of 64
        columns, as torch.sum adds the columns beyond whole vectors in another order.
        """
        parts = 1 if x.dtype == wide else 2
        if sparing.get():
            parts = min(max(parts, x.nbytes >> 17), 4)
        if parts == 1:
            return torch.sum(torch_rows.powers(x, power, wide), dim=1)
        before, _, behind = x.shape
        by_rows = before >= parts
        step = -(-before // parts) if by_rows else -(-behind // parts // 64) * 64
        pieces = x.split(step, 0 if by_rows else 2)
        sums = [torch.sum(torch_rows.powers(piece, power, wide), dim=1) for piece in pieces]
        return torch.cat(sums, 0 if by_rows else 1)

    def copied(self, w: Any) -> Any:
        return w.clone()  # asarray(copy=True) would leave the graph

    def unwritable(self, w: Any) -> str | None:
        owner = w if w._base is None else w._base
        if owner.is_leaf and owner.requires_grad and torch.is_grad_enabled():
            return "a leaf that requires grad while grad mode is on (use torch.no_grad())"
        tracing = torch.compiler.is_compiling()  # cannot be asked about inference mode
        if not tracing and w.is_inference() and not torch.is_inference_mode_enabled():
            return "an inference tensor outside inference mode"
        return None if w.is_contiguous() else overlapping(w.shape, w.stride(), 1)

    def write(self, w: Any, result: Any) -> None:
        try:
            w.copy_(result)  # recorded by autograd
        except RuntimeError as error:  # a view that torch does not let be written
            raise ValueError(f"copy=False cannot write into this tensor: {error}") from error

    def memories(self, arrays: list[Any]) -> list[Hashable | None]:
        return torch_kinds.memories(arrays)


TORCH = Torch(array_api_compat.torch)


@torch.library.custom_op("array_constraints::nondecreasing", mutates_args=())  # type: ignore[untyped-decorator]
def _nondecreasing(x: torch.Tensor) -> torch.Tensor:
    """One operation of a program: step by step, it would take minutes to compile."""
    found: torch.Tensor = TORCH.nondecreasing(x)
    return found.clone()  # it may be a view of what was given, which no operation returns


@_nondecreasing.register_fake  # type: ignore[untyped-decorator]
def _like(x: torch.Tensor) -> torch.Tensor:
    return x.new_empty(x.shape)
