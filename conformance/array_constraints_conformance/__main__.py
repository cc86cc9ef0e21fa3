"""``python -m array_constraints_conformance``."""

import sys

from array_constraints_conformance.cli import main

sys.exit(main())
