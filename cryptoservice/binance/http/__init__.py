"""Requests over HTTP: one pooled session for each host, limits, bans, retries, and what a response means."""
