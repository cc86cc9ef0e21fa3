"""Known gaps: requirements that an implementation does not meet, each with a reason."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

from array_constraints_conformance.specification import requirements


class BadGaps(ValueError):
    """A file of known gaps that cannot be read, or names an unknown requirement."""


@dataclass(frozen=True)
class Gap:
    """One requirement that is not met, for constraints and libraries named by patterns."""

    requirement: str
    reason: str
    constraint: str = "*"
    library: str = "*"
    link: str = ""

    def covers(self, requirement: str, constraint: str, library: str) -> bool:
        return (
            requirement == self.requirement
            and fnmatchcase(constraint, self.constraint)
            and fnmatchcase(library, self.library)
        )


def read(name: str) -> tuple[Gap, ...]:
    """Return the gaps of a TOML file, or of one that the package has: ``keras``.

    Raises
    ------
    BadGaps
        If there is no such file, or an entry has no reason, an unknown requirement or key.
    """
    path = Path(name)
    packaged = resources.files(__package__).joinpath(f"{name}.toml")
    try:
        text = path.read_text("utf-8") if path.is_file() else packaged.read_text("utf-8")
        entries: list[dict[str, Any]] = tomllib.loads(text).get("gap", [])
        if not isinstance(entries, list):
            raise BadGaps(f"known gaps {name!r}: each entry begins with [[gap]]")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadGaps(f"known gaps {name!r} cannot be read: {error}") from error
    return tuple(_gap(name, entry) for entry in entries)


def _gap(name: str, entry: dict[str, Any]) -> Gap:
    try:
        gap = Gap(**entry)  # TypeError too where it is no table
    except TypeError as error:
        raise BadGaps(f"known gaps {name!r}: {entry}: {error}") from error
    if not all(isinstance(value, str) for value in entry.values()):
        raise BadGaps(f"known gaps {name!r}: {entry}: every value is a string")
    if gap.requirement not in requirements():
        raise BadGaps(f"known gaps {name!r}: there is no requirement {gap.requirement}")
    if not gap.reason.strip():
        raise BadGaps(f"known gaps {name!r}: {gap.requirement} has no reason")
    return gap
