"""What a run will do: which tensors, in which pieces, how much is read, written and held."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from array_constraints.constraint import Elementwise, Slicewise, WholeSlice
from array_constraints.files.delivery.identity import judge_apart, making, why_not_told
from array_constraints.files.delivery.staging import Staging
from array_constraints.files.formats.base import Source, Target, Tensor
from array_constraints.files.grid import ENTRIES_OF_TILE, Region
from array_constraints.files.run.axis_warnings import warnings_of
from array_constraints.files.run.entries import pass_of
from array_constraints.files.run.work import Pass
from array_constraints.rules import Rules

CHUNK_SIZE = 64 * 2**20
"""Bytes of a region, unless another number is asked for."""

BYTES_OF_NAME = 2**11
"""Bytes for what is known of a tensor: its header while it is read, its place, its report."""


@dataclass(frozen=True)
class Item:
    """A selected tensor, and how its constraint is brought to it."""

    work: Pass
    chunk_size: int
    in_order: bool

    @property
    def panels(self) -> Iterator[tuple[Region, list[Region]]]:
        """The parts that have whole slices, and the regions of each."""
        if not self.tensor.entries:
            return iter(())
        return self.work.panels(self.chunk_size, self.in_order)

    @property
    def tensor(self) -> Tensor:
        """The selected tensor."""
        return self.work.tensor

    @property
    def constraint(self) -> Any:
        """Its constraint."""
        return self.work.constraint

    @property
    def form(self) -> str:
        """The form of the constraint, which says how often a tensor is read."""
        for form in (Elementwise, Slicewise, WholeSlice):
            if isinstance(self.constraint, form):
                return form.__name__.lower()
        return "whole array"

    @property
    def passes(self) -> int:
        """How often the tensor is read to be constrained."""
        return max((min(len(regions), 2) for _, regions in self.panels), default=0)

    @property
    def regions(self) -> int:
        """How many pieces it is read in."""
        return sum(len(regions) for _, regions in self.panels)

    @property
    def bytes_of_region(self) -> int:
        """The bytes of its largest piece."""
        sizes = (self.work.bytes_of(r) for _, regions in self.panels for r in regions)
        return max(sizes, default=0)

    def bytes_read(self, to_project: bool) -> int:
        """Return the bytes that are read of it, uncompressed."""
        return sum(
            sum(map(self.work.bytes_of, regions)) * (min(len(regions), 2) if to_project else 1)
            for _, regions in self.panels
        )


@dataclass(frozen=True)
class Plan:
    """What a run will do; nothing of a tensor is read to make it."""

    source: Source
    rules: Rules
    items: tuple[Item, ...]
    chunk_size: int
    workers: int
    to_project: bool
    warnings: tuple[str, ...]

    def target(self, content: Path) -> Target:
        """Return the copy to be made at ``content``."""
        return self.source.target([item.tensor for item in self.items], content)

    @property
    def resumable(self) -> bool:
        """Whether a run that was stopped can be continued."""
        return not self.why_not_resumable

    @property
    def why_not_resumable(self) -> str:
        """Why a run that was stopped cannot be continued; nothing if it can."""
        if not self.target(Path()).shared:
            return "its format is written as a stream, which cannot be continued"
        return why_not_told(self.rules)

    @property
    def peak_memory(self) -> int:
        """Bytes held at most beside what the libraries take: regions, tiles, names."""
        largest = max((item.bytes_of_region for item in self.items), default=0)
        tile = max((item.tensor.itemsize for item in self.items), default=0) * ENTRIES_OF_TILE
        copies = 2 if any(item.tensor.chunks for item in self.items) else 1  # while decoding
        held = self.workers * (copies * largest + 4 * min(largest, tile))
        return held + BYTES_OF_NAME * len(self.source.tensors)

    @property
    def bytes_read(self) -> int:
        """Bytes read: of the selected tensors as often as they need, of the rest once."""
        selected = sum(item.bytes_read(self.to_project) for item in self.items)
        return selected + (self.bytes_passed_through if self.to_project else 0)

    @property
    def bytes_written(self) -> int:
        """Bytes written: all of the source once; uncompressed, of the selected tensors."""
        if not self.to_project:
            return 0
        return self.bytes_passed_through + sum(item.tensor.nbytes for item in self.items)

    @property
    def bytes_passed_through(self) -> int:
        """Bytes that no constraint touches."""
        return max(0, self.source.nbytes - sum(item.tensor.nbytes for item in self.items))


def plan_for(
    source: Source, rules: Rules, *, chunk_size: int, workers: int, to_project: bool
) -> Plan:
    """Return the plan of a run.

    Raises
    ------
    LookupError
        If a rule is left without a tensor.
    TypeError, ValueError
        If a constraint does not fit a tensor that its rule selects, or its storage would round
        what is written.
    """
    matched = rules.match(source.tensors)
    items = []
    selected = [source.tensors[name] for name in matched]
    in_order = to_project and not source.target(selected, Path()).shared
    for name, constraint in matched.items():
        source.tensors[name].judge(to_project)
        items.append(Item(pass_of(constraint, source.tensors[name]), chunk_size, in_order))
        next(items[-1].panels, None)  # or raise, where slices do not fit
    warnings = tuple(warnings_of(source, items))
    return Plan(source, rules, tuple(items), chunk_size, workers, to_project, warnings)


def making_of(plan: Plan) -> dict[str, Any]:
    """Return what a run makes of what: a part that is left continues only the same."""
    return making(plan.source, plan.source.files, plan.rules)


def judge_target(plan: Plan, target: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise where a result cannot be put; nothing is written. The run itself asks once more.

    Raises
    ------
    FileExistsError
        If there is something already.
    ValueError
        If the target is the source, lies in it, or has another name.
    OSError
        If its folder is missing, or has no room, or another run is at work there.
    """
    if not target.name:
        raise ValueError(f"{str(target)!r} is a folder, or an empty name: name a file in it")
    _resolved(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target.parent}: no such folder")
    _judge_name(plan, target)
    staging = Staging(target)
    judge_apart(plan.source, target, staging.folder)
    with contextlib.closing(staging):
        staging.open(make=False)
        judge_left(plan, staging, resume=resume, overwrite=overwrite)


def judge_left(plan: Plan, staging: Staging, *, resume: bool, overwrite: bool) -> bool:
    """Return whether a run continues what another has left; raise if it may not begin."""
    left = staging.begun is not None or bool(staging.doubt)
    reason = _why_anew(plan, staging, resume) if left else "nothing is left"
    if left and reason and not overwrite:
        raise FileExistsError(f"{staging.folder}: is left from an earlier run{reason}")
    if reason or not staging.delivered:
        judge_replaced(plan, staging.target, overwrite)
    free, needed = shutil.disk_usage(staging.target.parent).free, plan.bytes_written
    if reason and free + staging.occupied < needed:
        raise OSError(
            errno.ENOSPC, f"{staging.target}: {needed} bytes are to be written, {free} are free"
        )
    return not reason


def _why_anew(plan: Plan, staging: Staging, resume: bool) -> str:
    """Return why what is left is not continued, as a message goes on; nothing if it is."""
    if not resume:
        return ": resume it, or overwrite it"
    if oddity := staging.oddity(plan.source.folder):
        return f", but {oddity}; it is not resumed: overwrite it to begin anew"
    if plan.why_not_resumable:
        return f", but {plan.why_not_resumable}; it is not resumed: overwrite it to begin anew"
    if staging.begun != making_of(plan):
        return (
            " of another source, or of one that was changed, moved or given other permissions "
            "since, or with other constraints: overwrite it to begin anew"
        )
    return ""


def judge_replaced(plan: Plan, target: Path, overwrite: bool) -> None:
    """Raise FileExistsError if there is a target that is not to be replaced."""
    while (status := _status(target)) is not None:
        if not overwrite:
            raise FileExistsError(f"{target}: exists already: overwrite it, or name another")
        try:
            _judge_kind(plan, target)
        except (OSError, ValueError):
            now = _status(target)  # another run may just have put its own result there
            if now is not None and os.path.samestat(status, now):
                raise
        else:
            return


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _judge_kind(plan: Plan, target: Path) -> None:
    judge_apart(plan.source, target)
    if plan.source.folder:
        plan.source.judge_replaced(target)
    elif not target.is_file():
        raise FileExistsError(f"{target}: is not a regular file: name another")


def _resolved(target: Path) -> Path:
    try:
        return target.resolve()
    except RuntimeError:  # as Python up to 3.12 has it
        raise ValueError(f"{target}: a loop of links: name another") from None


def _judge_name(plan: Plan, target: Path) -> None:
    suffix = plan.source.path.suffix
    if plan.source.folder and target.suffix in (".safetensors", ".json"):
        raise ValueError(f"{target}: a folder will be there: name it without {target.suffix}")
    if not plan.source.folder and target.suffix != suffix:
        raise ValueError(f"{target}: the format is kept, so its name has to end with {suffix}")
