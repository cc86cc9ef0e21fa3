"""The command line of the suite: its options, what it does, its tables."""

from array_constraints_conformance.cli.commands import main

__all__ = ["main"]
