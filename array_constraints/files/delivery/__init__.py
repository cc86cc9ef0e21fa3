"""The safety of a result: made apart, noted in a journal, put in its place in one step."""
