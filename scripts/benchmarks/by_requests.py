"""A program to be timed: a plain GET of each object and of its CHECKSUM by requests, one after the other, and nothing else.

python by_requests.py BASE_URL < NAMES
"""

from __future__ import annotations

import sys

import requests


def main(base_url: str) -> int:
    """1 when one of them is not there."""
    with requests.Session() as session:
        for name in sys.stdin.read().split():
            for ending in ("", ".CHECKSUM"):
                response = session.get(f"{base_url}/{name}{ending}", timeout=30)
                if not response.ok or not response.content:
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
