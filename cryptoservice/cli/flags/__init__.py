"""The flags of every command: names, units, defaults and help."""
