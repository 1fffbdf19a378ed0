"""Audit: has the archive published anything anew that a database was built from?"""
