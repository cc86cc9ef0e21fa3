"""The place of a result: whether it may be put there, and a run may begin or continue."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from array_constraints.files.delivery.identity import check_apart
from array_constraints.files.delivery.staging import Staging
from array_constraints.files.formats.shards import OF_WEIGHTS
from array_constraints.files.run.plan import Plan

_ANEW = "begin anew with overwrite=True"


def check_target(plan: Plan, target: Path) -> None:
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
    _check_name(plan, target)
    staging = Staging(target)
    check_apart(plan.source, target, staging.folder)
    with contextlib.closing(staging):
        staging.open(make=False)
        check_leftover(plan, staging)


def check_leftover(plan: Plan, staging: Staging) -> bool:
    """Return whether a run continues what another has left; raise if it may not begin."""
    left = staging.begun is not None or bool(staging.doubt)
    reason = _why_anew(plan, staging) if left else "nothing is left"
    if left and reason and not plan.options.overwrite:
        raise FileExistsError(f"{staging.folder}: is left from an earlier run{reason}")
    if reason or not staging.delivered:
        check_replaceable(plan, staging.target)
    free, needed = shutil.disk_usage(staging.target.parent).free, plan.bytes_written
    if reason and free + staging.occupied < needed:
        raise OSError(
            errno.ENOSPC, f"{staging.target}: {needed} bytes are to be written, {free} are free"
        )
    return not reason


def _why_anew(plan: Plan, staging: Staging) -> str:
    """Say why an earlier run is not continued, as a message goes on; nothing if it is."""
    if not plan.options.resume:
        return ": go on with resume=True, or begin anew with overwrite=True"
    if oddity := staging.oddity(plan.source.folder):
        return f", but {oddity}; it is not resumed: {_ANEW}"
    if plan.why_not_resumable:
        return f", but {plan.why_not_resumable}; it is not resumed: {_ANEW}"
    if staging.begun != plan.fingerprint():
        return (
            " of another source, or of one that was changed, moved or given other permissions "
            f"since, or with other constraints: {_ANEW}"
        )
    return ""


def check_replaceable(plan: Plan, target: Path) -> None:
    """Raise FileExistsError if there is a target that is not to be replaced."""
    while (status := _status(target)) is not None:
        if not plan.options.overwrite:
            raise FileExistsError(
                f"{target}: exists already: replace it with overwrite=True, or name another"
            )
        try:
            _check_kind(plan, target)
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


def _check_kind(plan: Plan, target: Path) -> None:
    check_apart(plan.source, target)
    if plan.source.folder:
        plan.source.check_replaceable(target)
    elif not target.is_file():
        raise FileExistsError(f"{target}: is not a regular file: name another")


def _resolved(target: Path) -> Path:
    try:
        return target.resolve()
    except RuntimeError:  # as Python up to 3.12 has it
        raise ValueError(f"{target}: a loop of links: name another") from None


def _check_name(plan: Plan, target: Path) -> None:
    suffix = plan.source.path.suffix
    if plan.source.folder and target.suffix in (*OF_WEIGHTS, ".json"):
        raise ValueError(f"{target}: a folder will be there: name it without {target.suffix}")
    if not plan.source.folder and target.suffix != suffix:
        raise ValueError(
            f"{target}: a file in the format of {plan.source.path.name} will be there, so its "
            f"name has to end with {suffix}"
        )
