"""Requests over HTTP: one pooled session a host, limits, bans, retries, and what a response means."""
