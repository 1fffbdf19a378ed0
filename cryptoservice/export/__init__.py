"""The command `export`: one CSV file a day from SQLite, the coverage report and the coverage map."""
