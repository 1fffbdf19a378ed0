"""Decisions about sources: which one to ask for a symbol-day, what its answer means, and how the symbol-day ends."""
