"""The further sets from scratch on NumPy: right implementations, and one fault each."""
