#!/usr/bin/env bash
# cryptoservice universe download, from any folder: passes everything through and adds nothing.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$root/.venv/bin/python"
[ -x "$python" ] || python="${PYTHON:-python3}"
# The checkout comes first, so that it runs installed or not.
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m cryptoservice universe download "$@"
