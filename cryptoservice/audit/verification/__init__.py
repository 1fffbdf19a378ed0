"""What `verify` does with symbol-days: the checks, the comparison with the other source, and the repair."""
