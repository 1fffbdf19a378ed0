"""The command `export`: from SQLite to one CSV file a day, the coverage report and the coverage map."""
