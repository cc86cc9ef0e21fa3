"""Executors run forms: as one expression, in blocks, in chunks. They name no library."""
