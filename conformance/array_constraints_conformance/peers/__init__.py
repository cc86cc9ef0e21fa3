"""Projections of other libraries, under the names of the constraints."""
