"""Weights that are judged: slices of every kind, placed in decks, drawn, or beside others."""
