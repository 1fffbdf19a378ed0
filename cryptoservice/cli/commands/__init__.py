"""The commands. Each calls one library function with its arguments, delivers the result, and turns the outcome into an exit code.

Each command imports only its own package: an export need not wait for what a download needs.
"""
