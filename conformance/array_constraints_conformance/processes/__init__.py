"""Judging in a process of its own, which the implementation may end as it likes.

``judging`` stays in the suite's process and starts a ``process`` for an ``order``; there
``keeper`` waits for the ``child``, which judges.
"""
