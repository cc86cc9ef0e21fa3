"""Side-by-side timings against peers, as ratios measured in turn in one process."""
