"""The dataset lock: digests over what a database holds of a universe, by which two people prove that they hold the same."""
