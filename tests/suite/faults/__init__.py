"""Faulty implementations, and right ones written differently: what the suite is tested with."""
