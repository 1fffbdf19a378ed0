"""The SQLite database: its schema, its reader and its writer, and the lock that allows one writer at a time."""
