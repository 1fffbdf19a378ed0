"""What a universe is: its model, its file, the names of symbols, and the files that a user names as input."""
