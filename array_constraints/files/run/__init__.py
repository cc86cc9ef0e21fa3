"""The runs on a file: planned, done region by region by workers, and reported."""
