"""The memory of bans: a ban is on the IP address, so the next run on this machine must not ask a host that has banned it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from cryptoservice import files
from cryptoservice.clock import Clock
from cryptoservice.errors import OutputError

log = logging.getLogger(__name__)

# Documented bans last up to three days (docs/wire.md, limits and bans): anything much longer is a damaged file, not a ban.
_LONGEST_SECONDS = 7 * 86_400.0
_MAX_BYTES = 256 * 1024


def default_path() -> Path | None:
    """`${XDG_STATE_HOME:-~/.local/state}/cryptoservice/bans.json`; None where the user has no home, as in some containers."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        base = Path(state) if state else Path("~/.local/state").expanduser()
    except RuntimeError:
        return None
    return base / "cryptoservice" / "bans.json"


class BanMemory:
    """End times of bans by `host:port`, in one small JSON file.

    No trouble with the file is an error: losing it costs one refused request.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def until(self, host: str) -> float | None:
        """The epoch second until which that host has banned this IP address, or None."""
        return self._read().get(host)

    def remember(self, host: str, until: float) -> None:
        """Write a ban down, with its end in epoch seconds; expired bans are dropped on the way."""
        if self._path is None:
            return
        try:
            bans = self._read()
            bans[host] = max(until, bans.get(host, 0.0))
            with files.atomic_text(self._path, durable=False) as handle:
                json.dump(bans, handle, indent=2, sort_keys=True)
                handle.write("\n")
        except (OutputError, OSError, ValueError) as error:
            log.debug("the ban of %s could not be remembered: %s", host, error)

    def _read(self) -> dict[str, float]:
        if self._path is None:
            return {}
        try:
            if self._path.stat().st_size > _MAX_BYTES:
                return {}
            record = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            log.debug("no bans are remembered: %s", error)
            return {}
        if not isinstance(record, dict):
            return {}
        now = self._clock.time()
        return {host: float(until) for host, until in record.items() if _is_running(until, now)}


def _is_running(until: object, now: float) -> bool:
    # A comparison needs no conversion to float, so neither NaN nor a number of a thousand digits passes or raises.
    return isinstance(until, (int, float)) and not isinstance(until, bool) and now < until < now + _LONGEST_SECONDS
