"""One constraint on trial: the subject, its calls, observations of them, the cases it faces."""
