"""How libraries find the thresholds by which slices are brought to a sum."""
