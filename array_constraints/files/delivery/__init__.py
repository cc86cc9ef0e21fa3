"""Putting a result in its place, so that nothing that is there is lost."""
