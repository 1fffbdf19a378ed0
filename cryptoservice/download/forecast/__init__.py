"""Forecasts: what a download will ask for, how long that takes and why, and how much disk it needs."""
