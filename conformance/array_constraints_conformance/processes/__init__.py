"""Judging in a process of its own: whatever ends it, every task gets an outcome.

``judging`` stays with the suite and sends a ``request`` to a ``process``. There ``keeper``
waits for its ``child``, which judges, and tells how it ended.
"""
