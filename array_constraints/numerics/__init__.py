"""How exact a result is: formats, sums, norms, margins; no library and no constraint."""
