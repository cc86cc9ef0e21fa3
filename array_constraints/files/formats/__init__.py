"""The formats of files of weights: a table of them, and one module for each."""
