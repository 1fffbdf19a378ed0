"""The universe: the daily truth as a value, its file, and the names of its symbols."""
