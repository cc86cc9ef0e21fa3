"""Runs: what is done, in which order, and by whom."""
