"""Parsers of what the exchange sends: CSV text and JSON to checked rows."""
