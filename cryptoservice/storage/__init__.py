"""The SQLite database: its tables, reads and writes, and the lock that leaves it to one writer."""
