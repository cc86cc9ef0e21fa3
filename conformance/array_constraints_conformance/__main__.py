"""``python -m array_constraints_conformance``."""

import sys

from array_constraints_conformance.processes.needs import missing

try:
    from array_constraints_conformance.cli import main
except ModuleNotFoundError as error:
    sys.stderr.write(f"array_constraints_conformance: {missing(error)}\n")
    sys.exit(2)

sys.exit(main())
