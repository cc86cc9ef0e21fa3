"""Arithmetic of the suite: floating-point formats, exact results, comparisons of bits."""
