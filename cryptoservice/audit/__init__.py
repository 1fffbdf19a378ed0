"""The commands `status` and `verify`: what a database holds, and whether that is still true."""
