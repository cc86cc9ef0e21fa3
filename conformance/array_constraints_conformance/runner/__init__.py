"""Runs: a plan of what is judged, the results of its tasks, known gaps among them."""
