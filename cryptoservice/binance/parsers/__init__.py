"""Formats of the wire: texts and JSON to rows that were checked."""
