"""The run of a plan: every region read, constrained and written, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

from array_constraints.files.delivery.journal import Key
from array_constraints.files.delivery.permissions import keep, make_private
from array_constraints.files.delivery.resumed import Compared
from array_constraints.files.delivery.staging import Staging, staged
from array_constraints.files.formats.base import Progress, Target
from array_constraints.files.formats.opening import open_weights
from array_constraints.files.grid import Region
from array_constraints.files.run.plan import Plan, judge_left, judge_replaced, making_of
from array_constraints.files.run.report import Report, Summary, TensorReport
from array_constraints.files.run.slices import SlicesPass
from array_constraints.files.run.work import Outcome, Pass
from array_constraints.files.run.workers import Workers

_SECONDS_BETWEEN_SYNCS = 2.0
_MOST_SIDE_BY_SIDE = 2**12
"""Pieces that are listed at a time; workers that are done wait for the last of them."""

Piece: TypeAlias = tuple[Pass, Region]


class ResumableError(RuntimeError):
    """A run that stopped, and can be continued from the part that it has left."""

    def __init__(self, folder: Path, reason: BaseException) -> None:
        stopped = isinstance(reason, KeyboardInterrupt)
        said = "stopped" if stopped else f"{type(reason).__name__}: {reason}"
        super().__init__(f"{said}\nWhat is done is in {folder}: go on with resume.")
        self.folder = folder


class Checking:
    """One run that only reads."""

    def __init__(self, plan: Plan, workers: Workers, progress: Progress) -> None:
        self.plan, self.workers, self.progress = plan, workers, progress
        self.before = dict.fromkeys([item.tensor.name for item in plan.items], Summary())
        self.streamed = any(not item.tensor.shared for item in plan.items)

    def report(self) -> Report:
        """Return how far each selected tensor is from what its constraint allows."""
        for panel, pieces in _batches(self.plan):
            if panel is None:
                for (work, _), outcome in self.each("check", pieces):
                    self.before[work.tensor.name] += outcome.before
            else:
                self.surveyed(panel, pieces)
        return Report(
            tuple(
                TensorReport(item.tensor.name, item.constraint, self.before[item.tensor.name])
                for item in self.plan.items
            ),
            self.plan.warnings,
        )

    def surveyed(self, panel: Region, pieces: Sequence[Piece]) -> Any:
        """Return the measures of a panel's slices; ``before`` is told how far they are off."""
        work = cast(SlicesPass, pieces[0][0])
        forest = work.forest()
        for _, outcome in self.each("survey", pieces):
            forest.add_all(outcome.nodes)
        measures = forest.measures()
        self.before[work.tensor.name] += work.summary(measures, panel)
        return measures

    def each(
        self, method: str, pieces: Iterable[Piece], *more: Any, in_order: bool = False
    ) -> Iterator[tuple[Piece, Outcome]]:
        """Call a method of the pass of each piece, and return the outcomes as they come in.

        What only this thread can read goes with the call.
        """

        def jobs() -> Iterator[tuple[Any, ...]]:
            for work, region in pieces:
                block = None if work.tensor.shared else work.tensor.read(region)
                yield (method, work, region, block, *more)

        in_order = in_order or self.streamed
        for (_, work, region, *_), outcome in self.workers.run(_call, jobs(), in_order):
            yield (work, region), outcome
            self.progress((2 if method == "project" else 1) * work.bytes_of(region))


def _call(method: str, work: Pass, *arguments: Any) -> Outcome:
    import numpy

    with numpy.errstate(all="ignore"):  # a signalling NaN is no news
        outcome: Outcome = getattr(work, method)(*arguments)
    return outcome


def _batches(plan: Plan) -> Iterator[tuple[Region | None, list[Piece]]]:
    """Return what can be done side by side: pieces read once, or a panel that is read twice."""
    once: list[Piece] = []
    for item in plan.items:
        for panel, regions in item.panels:
            if len(regions) == 1:
                once.append((item.work, regions[0]))
                if len(once) < _MOST_SIDE_BY_SIDE:
                    continue
            if once:
                yield None, once
                once = []
            if len(regions) > 1:
                yield panel, [(item.work, region) for region in regions]
    if once:
        yield None, once


class Projecting(Checking):
    """One run that makes a copy whose selected tensors are constrained."""

    def __init__(
        self, plan: Plan, copy: Target, staging: Staging, workers: Workers, progress: Progress
    ) -> None:
        super().__init__(plan, workers, progress)
        self.copy, self.staging = copy, staging
        self.after = dict(self.before)
        self.written: list[Key] = []
        self.synced = time.monotonic()

    def copied(self, making: dict[str, Any], overwrite: bool) -> Report:
        """Make the copy, and return what was found and what is left."""
        self.copy.prepare(self.progress)
        self.copy.sync()
        if self.plan.resumable and self.staging.begun is None:
            self.staging.begin(making)
        for panel, pieces in _batches(self.plan):
            if panel is None:
                self._once(pieces)
            else:
                self._twice(panel, pieces)
        self.copy.finish()
        keep(self.plan.source.root, self.staging.content)
        judge_unchanged(self.plan, making)
        self.staging.commit(overwrite)
        return Report(
            tuple(
                TensorReport(name, item.constraint, self.before[name], self.after[name])
                for item in self.plan.items
                for name in [item.tensor.name]
            ),
            self.plan.warnings,
        )

    def _once(self, pieces: list[Piece]) -> None:
        """Constrain pieces of whole slices."""
        for (work, _), outcome in self._projected(pieces):
            self.before[work.tensor.name] += outcome.before
            self.after[work.tensor.name] += outcome.after

    def _twice(self, panel: Region, pieces: list[Piece]) -> None:
        """Measure the slices of a panel, then constrain it piece by piece."""
        work = cast(SlicesPass, pieces[0][0])
        measures = self.workers.shared(self.surveyed(panel, pieces))
        forest = work.forest()
        for _, outcome in self._projected(pieces, measures):
            forest.add_all(outcome.nodes)
        self.after[work.tensor.name] += work.summary(forest.measures(), panel)

    def _projected(
        self, pieces: list[Piece], *measures: Any
    ) -> Iterator[tuple[Piece, Outcome]]:
        """Constrain pieces, and see that they are written."""
        if self.copy.shared:
            writing = {work.tensor.name: self._writing(work) for work, _ in pieces}
            pieces = [
                (writing[work.tensor.name][_key((work, region)) in self.staging.done], region)
                for work, region in pieces
            ]
        in_order = not self.copy.shared
        for piece, outcome in self.each("project", pieces, *measures, in_order=in_order):
            if in_order:
                self.copy.write(piece[0].tensor, piece[1], outcome.block)
            yield piece, outcome._replace(block=None)
            self._wrote(_key(piece))

    def _writing(self, work: Pass) -> tuple[Pass, Pass]:
        """Return a pass that writes what is new, and one for what an earlier run says is done.

        That is not believed, but compared: it comes out the same, or is written again.
        """
        result, durable = self.copy.written(work.tensor), self.workers.remote
        left = Compared(result.name, result.shape, result.dtype, result)
        return (
            replace(work, result=result, durable=durable),
            replace(work, result=left, durable=durable),
        )

    def _wrote(self, key: Key) -> None:
        """Have it in the journal that regions are on the disk, every few seconds."""
        self.written.append(key)
        resumable = self.staging.begun is not None
        if resumable and time.monotonic() > self.synced + _SECONDS_BETWEEN_SYNCS:
            if not self.workers.remote:
                self.copy.sync()
            self.staging.add(self.written)
            self.written, self.synced = [], time.monotonic()


def _key(piece: Piece) -> Key:
    work, region = piece
    return work.tensor.name, tuple((part.start, part.stop) for part in region)


def project(
    plan: Plan,
    target: Path,
    workers: Workers,
    progress: Progress,
    *,
    resume: bool,
    overwrite: bool,
) -> Report:
    """Make a copy of the source at ``target``, its selected tensors constrained.

    Raises
    ------
    ResumableError
        If it stopped, and what is done can be continued.
    FileExistsError
        If what an earlier run has left is neither to be resumed nor overwritten.
    """
    making = making_of(plan)
    with staged(target, lambda old: judge_replaced(plan, old, overwrite)) as staging:
        if not judge_left(plan, staging, resume=resume, overwrite=overwrite):
            staging.clear()
        elif (delivered := staging.delivered) or staging.intact:  # stopped at the very end
            made = plan.target(staging.target if delivered else staging.content)
            report = _report_of(plan, made, workers, progress)
            judge_unchanged(plan, making)
            try:
                staging.commit(overwrite)
            except OSError as error:
                raise ResumableError(staging.folder, error) from error
            return report
        elif staging.content.exists():
            make_private(staging.content)
        else:
            staging.clear()
        run = Projecting(plan, plan.target(staging.content), staging, workers, progress)
        try:
            return run.copied(making, overwrite)
        except BaseException as error:
            run.copy.abandon()
            again = isinstance(error, OSError | MemoryError | KeyboardInterrupt)
            if staging.begun is None or not (again or workers.remote):
                staging.clear()
                raise
            raise ResumableError(staging.folder, error) from error


def judge_unchanged(plan: Plan, making: dict[str, Any]) -> None:
    """Raise ValueError if the source is not what it was when it was opened: it is once more."""
    source = plan.source
    try:
        with open_weights(source.path) as now:
            same = (
                now.tensors == source.tensors and making_of(replace(plan, source=now)) == making
            )
    except (ValueError, OSError):
        same = False
    if not same:
        raise ValueError(f"{source.path}: has changed while it was read")


def _report_of(plan: Plan, made: Target, workers: Workers, progress: Progress) -> Report:
    """Return the report of a copy that is complete: both are read again."""
    before = Checking(plan, workers, progress).report()
    items = [
        replace(item, work=replace(item.work, tensor=made.written(item.tensor)))
        for item in plan.items
    ]
    after = Checking(replace(plan, items=tuple(items)), workers, progress).report()
    pairs = zip(before.tensors, after.tensors, strict=True)
    return Report(tuple(replace(a, after=b.before) for a, b in pairs), plan.warnings)
