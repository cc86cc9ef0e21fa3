"""Run the command line: ``python -m array_constraints``."""

from array_constraints.cli import main

if __name__ == "__main__":
    main()
