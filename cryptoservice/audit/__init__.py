"""The commands `status`, `verify` and `lock`: what a database holds, and whether that is still true."""
