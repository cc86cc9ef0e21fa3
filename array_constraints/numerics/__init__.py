"""Exactness: formats, sums, margins, rescaling. No library and no constraint is named."""
