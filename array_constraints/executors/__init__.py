"""How forms are run: as one expression, in blocks, in chunks; no constraint and no library."""
