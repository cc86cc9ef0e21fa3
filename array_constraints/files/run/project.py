"""A run that makes a copy: each region read, constrained and written, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from array_constraints.executors.grid import Region
from array_constraints.files.delivery.journal import Key
from array_constraints.files.delivery.permissions import keep, make_private
from array_constraints.files.delivery.resumed import ResumedTensor
from array_constraints.files.delivery.staging import Staging, staged
from array_constraints.files.formats.base import Target
from array_constraints.files.formats.disk import Progress
from array_constraints.files.formats.opening import open_weights
from array_constraints.files.run.check import Checking, batches
from array_constraints.files.run.plan import Plan
from array_constraints.files.run.report import Report, TensorReport
from array_constraints.files.run.target import check_leftover, check_replaceable
from array_constraints.files.run.work import (
    Decided,
    Measures,
    Outcome,
    RegionWork,
    TensorWork,
)
from array_constraints.files.run.work_on_slices import SlicesWork
from array_constraints.files.run.workers import Workers
from array_constraints.libraries.rounds import not_done

_SECONDS_BETWEEN_SYNCS = 2.0


class ResumableError(RuntimeError):
    """A run that stopped, and can be continued from the part that it has left."""

    def __init__(self, folder: Path, reason: BaseException) -> None:
        stopped = isinstance(reason, KeyboardInterrupt)
        said = "stopped" if stopped else f"{type(reason).__name__}: {reason}"
        super().__init__(f"{said}\nWhat is done is in {folder}: go on with resume=True.")
        self.folder = folder


class Projecting(Checking):
    """A run that makes a copy whose selected tensors are constrained."""

    def __init__(
        self, plan: Plan, copy: Target, staging: Staging, workers: Workers, progress: Progress
    ) -> None:
        super().__init__(plan, workers, progress)
        self.copy, self.staging = copy, staging
        self.after = dict(self.before)
        self.written: list[Key] = []
        self.synced = time.monotonic()

    def copied(self, fingerprint: dict[str, Any]) -> Report:
        """Make the copy, and return the violations in both."""
        self.copy.prepare(self.progress)
        self.copy.sync()
        if self.plan.resumable and self.staging.begun is None:
            self.staging.begin(fingerprint)
        for panel, batch in batches(self.plan):
            if panel is None:
                self._once(batch)
            else:
                self._twice(panel, batch)
        self.copy.finish()
        keep(self.plan.source.root, self.staging.content)
        check_unchanged(self.plan, fingerprint)
        self.staging.commit(self.plan.options.overwrite)
        return Report(
            tuple(
                TensorReport(name, item.constraint, self.before[name], self.after[name])
                for item in self.plan.items
                for name in [item.tensor.name]
            ),
            self.plan.warnings,
            self.plan.skipped,
        )

    def _once(self, batch: list[RegionWork]) -> None:
        """Constrain regions of whole slices."""
        for (work, _), outcome in self._projected(batch):
            self.before[work.tensor.name] += outcome.before
            self.after[work.tensor.name] += outcome.after

    def _twice(self, panel: Region, batch: list[RegionWork]) -> None:
        """Measure the slices of a panel, then constrain it region by region."""
        work = cast(SlicesWork, batch[0][0])
        decided = self._in_rounds(work, panel, batch, self.survey(panel, batch))
        forest = work.forest()
        for _, outcome in self._projected(batch, self.workers.shared(decided)):
            forest.add_all(outcome.nodes)
        self.after[work.tensor.name] += work.summary(forest.measures(), panel)

    def _in_rounds(
        self, work: SlicesWork, panel: Region, batch: list[RegionWork], measures: Measures
    ) -> Decided:
        """Measure the slices of a panel again, as often as their constraint asks for it."""
        decided, forms = Decided(measures, {}), work.following(measures, {}, panel)
        rounds = 1
        while forms:
            if rounds == work.constraint.rounds:
                raise not_done(work.constraint)
            rounds += 1
            measures = self.measured(work, batch, forms)
            decided.measures.update(measures)
            decided.forms.update(forms)
            forms = work.following(measures, forms, panel)
        return decided

    def _projected(
        self, batch: list[RegionWork], *decided: Any
    ) -> Iterator[tuple[RegionWork, Outcome]]:
        """Constrain regions, and see that they are written."""
        if self.copy.shared:
            writing = {work.tensor.name: self._writing(work) for work, _ in batch}
            batch = [
                (writing[work.tensor.name][_key((work, region)) in self.staging.done], region)
                for work, region in batch
            ]
        in_order = not self.copy.shared
        for done, outcome in self.each("project", batch, *decided, in_order=in_order):
            if in_order:
                self.copy.write(done[0].tensor, done[1], outcome.block)
            yield done, outcome._replace(block=None)
            self._wrote(_key(done))

    def _writing(self, work: TensorWork) -> tuple[TensorWork, TensorWork]:
        """Return work that writes new regions, and work for those that an earlier run has done.

        The latter are not believed, but compared: they come out the same, or are written again.
        """
        result, durable = self.copy.written(work.tensor), self.workers.remote
        left = ResumedTensor(result.name, result.shape, result.dtype, result)
        return (
            replace(work, result=result, durable=durable),
            replace(work, result=left, durable=durable),
        )

    def _wrote(self, key: Key) -> None:
        """Note in the journal, every few seconds, that regions are on the disk."""
        self.written.append(key)
        resumable = self.staging.begun is not None
        if resumable and time.monotonic() > self.synced + _SECONDS_BETWEEN_SYNCS:
            if not self.workers.remote:
                self.copy.sync()
            self.staging.add(self.written)
            self.written, self.synced = [], time.monotonic()


def _key(done: RegionWork) -> Key:
    work, region = done
    return work.tensor.name, tuple((part.start, part.stop) for part in region)


def project(plan: Plan, target: Path, workers: Workers, progress: Progress) -> Report:
    """Make a copy of the source at ``target``, its selected tensors constrained.

    Raises
    ------
    ResumableError
        If it stopped, and what is done can be continued.
    FileExistsError
        If what an earlier run has left is neither to be resumed nor overwritten.
    """
    fingerprint = plan.fingerprint()
    with staged(target, lambda old: check_replaceable(plan, old)) as staging:
        if not check_leftover(plan, staging):
            staging.clear()
        elif (delivered := staging.delivered) or staging.intact:  # stopped at the very end
            made = plan.target(staging.target if delivered else staging.content)
            report = _report_of(plan, made, workers, progress)
            check_unchanged(plan, fingerprint)
            try:
                staging.commit(plan.options.overwrite)
            except OSError as error:
                raise ResumableError(staging.folder, error) from error
            return report
        elif staging.content.exists():
            make_private(staging.content)
        else:
            staging.clear()
        copy = plan.target(staging.content)
        return _attempted(Projecting(plan, copy, staging, workers, progress), fingerprint)


def _attempted(run: Projecting, fingerprint: dict[str, Any]) -> Report:
    """Make the copy; if that fails, keep the staging folder only if it can be continued."""
    try:
        return run.copied(fingerprint)
    except BaseException as error:
        run.copy.abandon()
        again = isinstance(error, OSError | MemoryError | KeyboardInterrupt)
        if run.staging.begun is None or not (again or run.workers.remote):
            run.staging.clear()
            raise
        raise ResumableError(run.staging.folder, error) from error


def check_unchanged(plan: Plan, fingerprint: dict[str, Any]) -> None:
    """Raise ValueError if the source, opened once more, is not as it was."""
    source, again = plan.source, None
    try:
        linked = plan.options.follow_links
        with open_weights(source.path, follow_links=linked, as_folder=source.folder) as now:
            if source.beside:
                now.take_beside(linked)
            if now.tensors == source.tensors:
                again = replace(plan, source=now).fingerprint()
    except (ValueError, OSError):
        pass  # what cannot be opened any more has changed, too
    if again != fingerprint:
        before, there = (
            {file[0]: file for file in found["source"]} if found else {}
            for found in (fingerprint, again)
        )
        changed = [name for name in before if name in there and before[name] != there[name]]
        which = f": {changed[0]}" if changed else ""
        raise ValueError(f"{source.path}: has changed while it was read{which}")


def _report_of(plan: Plan, made: Target, workers: Workers, progress: Progress) -> Report:
    """Return the report of a copy that is complete: both are read again."""
    before = Checking(plan, workers, progress).report()
    items = [
        replace(item, work=replace(item.work, tensor=made.written(item.tensor)))
        for item in plan.items
    ]
    after = Checking(replace(plan, items=tuple(items)), workers, progress).report()
    pairs = zip(before.tensors, after.tensors, strict=True)
    return Report(
        tuple(replace(a, after=b.before) for a, b in pairs), plan.warnings, plan.skipped
    )
