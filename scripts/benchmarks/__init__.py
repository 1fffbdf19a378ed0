"""Benchmarks of whole commands, each as a ratio to a public tool in the same run, and each checked for what it wrote."""
