"""Formats of files of weights: one table, and one file for each format."""
