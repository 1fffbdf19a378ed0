"""The memory of bans: a ban is on the IP address, so the next run on this machine must not ask a host that has banned it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from cryptoservice import files
from cryptoservice.clock import Clock
from cryptoservice.errors import OutputError

log = logging.getLogger(__name__)

# Documented bans last up to three days (docs/wire.md, limits and bans): anything much longer is a damaged file, not a ban.
_LONGEST_SECONDS = 7 * 86_400.0
_MAX_BYTES = 256 * 1024
# Writing takes some milliseconds. Whoever holds the lock for longer has been stopped, and must not stop others.
_LONGEST_LOCK_SECONDS = 3.0
_LOCK_POLL_SECONDS = 0.005


def default_path() -> Path | None:
    """`${XDG_STATE_HOME:-~/.local/state}/cryptoservice/bans.json`; None where the user has no home, as in some containers."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        base = Path(state) if state else Path("~/.local/state").expanduser()
    except RuntimeError:
        return None
    return base / "cryptoservice" / "bans.json"


class BanMemory:
    """End times of bans by `host:port`, in one small JSON file that all runs of a machine share.

    Runs that write at once do not lose one another's bans: each reads and replaces the file under a lock. No trouble with the
    file is an error: losing it costs one refused request.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def until(self, host: str) -> float | None:
        """The epoch second until which that host has banned this IP address, or None."""
        return self._read().get(host)

    def remember(self, host: str, until: float) -> None:
        """Write a ban down, with its end in epoch seconds. It is on disk on return; expired bans are dropped on the way."""
        if self._path is None:
            return
        try:
            files.make_folder(self._path.parent)
            with _locked(self._path.with_name(self._path.name + ".lock")):
                files.clean_temps(self._path.parent)
                bans = self._read()
                bans[host] = max(until, bans.get(host, 0.0))
                with files.atomic_text(self._path) as handle:
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


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock on that file, which keeps out other processes and other threads of this one.

    Where the lock cannot be had the block runs all the same: a ban that may get lost is better than one that surely is.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        log.debug("%s cannot be opened: %s", path, error)
        yield
        return
    try:
        # The real clock, because another process holds the lock for real time.
        deadline = time.monotonic() + _LONGEST_LOCK_SECONDS
        try:
            while not files.try_lock(handle):
                if time.monotonic() > deadline:
                    log.debug("%s stays locked", path)
                    break
                time.sleep(_LOCK_POLL_SECONDS)
        except OSError as error:
            log.debug("%s cannot be locked: %s", path, error)
        yield
    finally:
        os.close(handle)
