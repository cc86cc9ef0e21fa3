"""A run that only reads: each region is measured, in bounded memory, and reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from array_constraints.executors.grid import Region
from array_constraints.files.formats.disk import Progress
from array_constraints.files.run.plan import Plan
from array_constraints.files.run.report import Report, Summary, TensorReport
from array_constraints.files.run.work import Forms, Measures, Outcome, RegionWork, TensorWork
from array_constraints.files.run.work_on_slices import SlicesWork
from array_constraints.files.run.workers import Workers

_MOST_SIDE_BY_SIDE = 2**12
"""Regions that are listed at a time; workers that are done wait for the last of them."""


class Checking:
    """A run that only reads."""

    def __init__(self, plan: Plan, workers: Workers, progress: Progress) -> None:
        self.plan, self.workers, self.progress = plan, workers, progress
        self.before = dict.fromkeys([item.tensor.name for item in plan.items], Summary())
        self.streamed = any(not item.tensor.shared for item in plan.items)

    def report(self) -> Report:
        """Return how far each selected tensor is from what its constraint allows."""
        for panel, batch in batches(self.plan):
            if panel is None:
                for (work, _), outcome in self.each("check", batch):
                    self.before[work.tensor.name] += outcome.before
            else:
                self.survey(panel, batch)
        return Report(
            tuple(
                TensorReport(item.tensor.name, item.constraint, self.before[item.tensor.name])
                for item in self.plan.items
            ),
            self.plan.warnings,
            self.plan.skipped,
        )

    def survey(self, panel: Region, batch: Sequence[RegionWork]) -> Measures:
        """Return the measures of a panel's slices; add how far they are off to ``before``."""
        work = cast(SlicesWork, batch[0][0])
        measures = self.measured(work, batch)
        self.before[work.tensor.name] += work.summary(measures, panel)
        return measures

    def measured(
        self, work: SlicesWork, batch: Sequence[RegionWork], forms: Forms | None = None
    ) -> Measures:
        """Return the measures of a panel's slices, or in a further round of those with a form.

        Regions where no slice has one are not read.
        """
        forest = work.forest(forms)
        if forms is None:
            outcomes = self.each("survey", batch)
        else:
            batch = [some for some in batch if work.is_measured(some[1], forms)]
            outcomes = self.each("survey", batch, self.workers.shared(forms))
        for _, outcome in outcomes:
            forest.add_all(outcome.nodes)
        return forest.measures()

    def each(
        self, method: str, batch: Iterable[RegionWork], *more: Any, in_order: bool = False
    ) -> Iterator[tuple[RegionWork, Outcome]]:
        """Call a method of the work of each region, and return the outcomes as they come in.

        What only this thread can read goes with the call.
        """

        def jobs() -> Iterator[tuple[Any, ...]]:
            for work, region in batch:
                block = None if work.tensor.shared else work.tensor.read(region)
                yield (method, work, region, block, *more)

        in_order = in_order or self.streamed
        for (_, work, region, *_), outcome in self.workers.run(_call, jobs(), in_order):
            yield (work, region), outcome
            self.progress((2 if method == "project" else 1) * work.bytes_of(region))


def _call(method: str, work: TensorWork, *arguments: Any) -> Outcome:
    import numpy

    with numpy.errstate(all="ignore"):  # signalling NaNs raise a flag: ignore it
        outcome: Outcome = getattr(work, method)(*arguments)
    return outcome


def batches(plan: Plan) -> Iterator[tuple[Region | None, list[RegionWork]]]:
    """Return regions to be done side by side: those read once, or of a panel read twice."""
    once: list[RegionWork] = []
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
