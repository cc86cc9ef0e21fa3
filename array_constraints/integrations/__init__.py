"""Adapters for training frameworks and clusters, each imported by its own name."""
