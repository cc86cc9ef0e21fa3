"""The command line ``array-constraints``."""

from array_constraints.cli.commands import main

__all__ = ["main"]
