"""The command line: arguments, exit codes, logs, and text for people. Nothing imports this package."""
