"""The commands `status` and `verify`: what a database holds, and whether it is still true."""
