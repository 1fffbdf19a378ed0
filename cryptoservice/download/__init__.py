"""The command `download`: a universe's symbol-days into SQLite, and the preview of that."""
