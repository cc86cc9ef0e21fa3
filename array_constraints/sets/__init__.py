"""The constraints: one file per family."""
