"""Weights in files of any size: checked and constrained region by region."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from array_constraints.files.formats.disk import Progress
from array_constraints.files.formats.opening import open_weights
from array_constraints.files.formats.shards import OF_WEIGHTS
from array_constraints.files.options import CHUNK_SIZE, DEFAULT, PATIENCE, Detail, Options
from array_constraints.files.run.check import Checking
from array_constraints.files.run.plan import Plan, plan_for
from array_constraints.files.run.project import project
from array_constraints.files.run.report import Report
from array_constraints.files.run.scheduling import workers_for
from array_constraints.files.run.target import check_target
from array_constraints.files.run.workers import Threads, Workers
from array_constraints.rules import Rule, Rules, RulesLike, as_rules
from array_constraints.sets.norms import MaxNorm
from array_constraints.typing import AxisLike


def _silent(count: int) -> None:
    """Report no progress."""


@contextlib.contextmanager
def planned(
    source: str | os.PathLike[str],
    rules: RulesLike,
    options: Options = DEFAULT,
    *,
    to_project: bool,
    target: Path | None = None,
) -> Iterator[tuple[Plan, Workers]]:
    """Open a source, and return the plan of a run and its workers; no tensor is read."""
    # A folder is taken as a whole, unless the result is named as a file of weights.
    whole = target is not None and target.suffix not in OF_WEIGHTS
    with (
        open_weights(source, follow_links=options.follow_links, as_folder=whole) as opened,
        contextlib.ExitStack() as stack,
    ):
        if target is not None and Path(source).is_dir():
            opened.take_beside(options.follow_links)
        streamed = not all(tensor.shared for tensor in opened.tensors.values())
        crew = (
            Threads(options.workers)
            if streamed
            else workers_for(options.workers, options.scheduler, options.patience)
        )
        stack.callback(crew.close)
        plan = plan_for(
            opened, as_rules(rules), options, workers=crew.count, to_project=to_project
        )
        yield plan, crew


def check_file(
    source: str | os.PathLike[str],
    rules: RulesLike,
    *,
    chunk_size: int = CHUNK_SIZE,
    workers: int | None = None,
    scheduler: Any = None,
    patience: float = PATIENCE,
    layout: str | None = None,
    transposed: Sequence[str] | None = None,
    strict: bool = False,
    follow_links: bool = False,
    slices: int = 0,
    progress: Progress = _silent,
) -> Report:
    """Return how far the weights in a file are from what their constraints allow.

    Parameters
    ----------
    source
        A file ``.safetensors``, ``.pt``, ``.pth``, ``.bin``, ``.ckpt``, ``.npy``, ``.npz``,
        ``.h5`` or ``.keras``; the index of shards, such as ``.safetensors.index.json``, or
        their folder; a folder of Zarr.
    rules
        A constraint for all weights; pairs of a pattern of names and a constraint, or
        :class:`array_constraints.rules.Rules`: the first that matches decides.
    chunk_size
        Bytes that are read at a time, at least 64 KiB: a region of about a megabyte, and whole
        chunks of the file, are read in any case.
    workers
        How many threads read and compute; as many as there are processors.
    scheduler
        The address of a Dask cluster, or a client; without it the active client, if there is
        one, and without ``workers``. Its workers have to see the files under the same paths.
        A ``.npz`` is a stream, constrained by threads of this process in any case.
    patience
        Seconds, at least 1, after which a cluster is given up: nothing was finished in them,
        and nothing heard of a worker at a task. The first worker is waited for as long.
    layout
        ``"torch"`` or ``"keras"``: as what the names and shapes of tensors are taken where a
        constraint has ``axis="incoming"``; an error where two types of layers fit.
    transposed
        Which convolutions of PyTorch are transposed, as patterns of names, and ``()`` for none:
        where neither a bias nor the shape tells it.
    strict
        Whether a tensor that a pattern with wildcards selects has to fit its constraint, as one
        that is named has to, and a pattern of ``exclude`` to match; else the report tells.
    follow_links
        Whether links out of a folder are followed, wherever they lead. Without, only those are
        that lead from a snapshot to the blobs of the same repository of Hugging Face's cache.
    slices
        How many of the worst slices of each tensor are listed, at most a million.
    progress
        Called with the number of bytes that were read since the last call.

    Returns
    -------
    Report
        For each tensor how many slices, or entries, violate, and how far the farthest is off.

    Raises
    ------
    LookupError
        If a rule matches no tensor that is left for it and that can be constrained.
    TypeError, ValueError
        If a constraint does not fit a tensor that it has to fit, two types of layers fit one
        whose constraint has ``axis="incoming"``, or the file is damaged or of an unknown
        format.
    OSError
        If it cannot be read, or the cluster is given up (``TimeoutError``).

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from array_constraints import MaxNorm
    >>> from array_constraints.files import check_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/w.npy", np.asarray([[3.0, 0.3], [4.0, 0.4]]))
    ...     check_file(f"{folder}/w.npy", MaxNorm(1.0)).tensors[0].before
    Summary(slices=2, violating=1, largest=4.0)
    """
    detail = Detail(slices)
    options = Options(
        chunk_size, workers, scheduler, patience,
        layout=layout, transposed=transposed, strict=strict, follow_links=follow_links,
        detail=detail,
    )  # fmt: skip
    with planned(source, rules, options, to_project=False) as (plan, crew):
        return Checking(plan, crew, progress).report()


def norms_of_file(
    source: str | os.PathLike[str],
    axis: AxisLike = "incoming",
    *,
    select: str | Sequence[str] = "*",
    exclude: str | Sequence[str] = (),
    ndim: int | Sequence[int] | None = None,
    min_size: int = 0,
    chunk_size: int = CHUNK_SIZE,
    workers: int | None = None,
    layout: str | None = None,
    transposed: Sequence[str] | None = None,
    strict: bool = False,
    follow_links: bool = False,
    progress: Progress = _silent,
) -> Report:
    """Return how the Euclidean norms of slices are distributed, to choose a bound by.

    Parameters
    ----------
    source, chunk_size, workers, layout, transposed, strict, follow_links, progress
        As for :func:`check_file`.
    axis
        The dimensions that a slice runs along, as a constraint has them.
    select, exclude, ndim, min_size
        Which tensors, as :class:`array_constraints.rules.Rule` has them; ``select`` may be
        several patterns.

    Returns
    -------
    Report
        For each tensor ``before.distribution``: how the norms are distributed, NaN and infinity
        counted apart. The violations are those of a norm of 0 at most: the norms themselves.

    Raises
    ------
    LookupError, TypeError, ValueError, OSError
        As for :func:`check_file`.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from array_constraints.files import norms_of_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/w.npy", np.asarray([[3.0, 0.3], [4.0, 0.4]]))
    ...     norms_of_file(f"{folder}/w.npy", axis=0).tensors[0].before.distribution
    Distribution(least=0.5, largest=5.0)
    """
    patterns = [select] if isinstance(select, str) else select
    chosen: dict[str, Any] = {"exclude": exclude, "ndim": ndim, "min_size": min_size}
    rules = Rules(Rule(pattern, MaxNorm(0.0, axis), **chosen) for pattern in patterns)
    detail = Detail(distribution=True)
    options = Options(
        chunk_size, workers,
        layout=layout, transposed=transposed, strict=strict, follow_links=follow_links,
        detail=detail,
    )  # fmt: skip
    with planned(source, rules, options, to_project=False) as (plan, crew):
        return Checking(plan, crew, progress).report()


def project_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    rules: RulesLike,
    *,
    chunk_size: int = CHUNK_SIZE,
    workers: int | None = None,
    scheduler: Any = None,
    patience: float = PATIENCE,
    layout: str | None = None,
    transposed: Sequence[str] | None = None,
    strict: bool = False,
    follow_links: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = _silent,
) -> Report:
    """Make a copy of a file of weights in which they are what their constraints allow.

    The source is never written to. Tensors that no rule selects, and all metadata, come over
    byte for byte, mode and owner where that is allowed. The target appears when it is complete,
    in one step; until then the work is in ``target.partial``, for nobody else to read. Its
    bytes do not depend on chunk size, workers or interruptions.

    Parameters
    ----------
    source, rules, chunk_size, workers, scheduler, patience, layout, transposed, strict
        As for :func:`check_file`.
    progress
        As for :func:`check_file`; the bytes that are written are counted, too.
    follow_links
        As for :func:`check_file`.
    target
        The file, or the folder for shards and Zarr; the format is that of the source. Of a
        folder with one file of weights it is a folder, too, unless it is named as a file. Small
        files beside the weights, such as ``config.json`` and a tokenizer, are copied.
    resume
        Go on with what an earlier run has left in ``target.partial``, if it has: of the same
        source, and with the same constraints of this library.
    overwrite
        Replace the target, and what an earlier run has left; with ``resume``, only if that
        cannot be continued.

    Returns
    -------
    Report
        For each tensor what :func:`check_file` reports, before and after.

    Raises
    ------
    ResumableError
        If the run was stopped, and can be continued.
    FileExistsError
        If the target or a part of it exists, and is neither to be resumed nor overwritten.
    BlockingIOError
        If another run is at work on the same target.
    LookupError, TypeError, ValueError, OSError
        As for :func:`check_file`; before anything is written, also if there is no room, or the
        storage of a selected tensor rounds what is written.

    Notes
    -----
    Elementwise constraints, and those on slices that fit into a chunk, read a tensor once;
    those on longer slices twice. A compressed or chunked HDF5 file and a ``.npz`` are made as a
    stream, by one thread at the end, and begin anew where others are resumed; so does a run
    with a constraint of one's own, which may be another by the next time.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from array_constraints import MaxNorm
    >>> from array_constraints.files import project_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/w.npy", np.asarray([[3.0, 0.3], [4.0, 0.4]]))
    ...     report = project_file(f"{folder}/w.npy", f"{folder}/out.npy", MaxNorm(1.0))
    ...     report.satisfied, np.load(f"{folder}/out.npy")
    (True, array([[0.6, 0.3],
           [0.8, 0.4]]))
    """
    target = Path(target)
    options = Options(
        chunk_size, workers, scheduler, patience, resume, overwrite,
        layout, transposed, strict, follow_links,
    )  # fmt: skip
    with planned(source, rules, options, to_project=True, target=target) as (plan, crew):
        check_target(plan, target)
        return project(plan, target, crew, progress)
