"""universe.json, schemas 2.0 and 2.1: writes a universe to its file, and reads it back with every rule of the schema checked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn

from cryptoservice import files
from cryptoservice.days import Window, parse_day, shorten
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.reasons import MissingReason
from cryptoservice.universe import symbols
from cryptoservice.universe.inputs import input_name, read_input
from cryptoservice.universe.model import OPT_IN_VERSION, PLAIN_VERSION, DailySnapshot, Listing, Universe, known_reasons
from cryptoservice.universe.selection import Selection

_WHAT = "universe file"
# All symbols of the archive over seven years are about 110 MB. A file above this limit is not a universe, and reading it would
# fill the memory.
MAX_FILE_BYTES = 192 * 1024 * 1024


class UniverseError(UsageError):
    """The universe file cannot be read, or breaks the schema; the message names the place."""


@dataclass(frozen=True)
class UniverseFile:
    """A universe together with the file that it was read from."""

    universe: Universe
    path: Path
    sha256: str

    @classmethod
    def load(cls, path: Path, stop: threading.Event | None = None) -> UniverseFile:
        """Read the file, which is never changed, and validate it.

        Raises UniverseError when it is unreadable or breaks a rule, and Interrupted when `stop` is set while standard input lets
        it wait.
        """
        try:
            content = read_input(path, _WHAT, MAX_FILE_BYTES, missing=Remedy.DEFINE_FIRST, stop=stop)
        except UsageError as error:
            raise UniverseError(error.message, hint=error.remedy or error.hint) from None
        try:
            universe = from_json(content.decode("utf-8"))
        except UnicodeDecodeError:
            raise UniverseError(f"{input_name(path, _WHAT)} is not UTF-8 text", hint=Remedy.DEFINE_FIRST) from None
        except UniverseError as error:
            raise UniverseError(f"{input_name(path, _WHAT)}: {error.message}", hint=error.hint or Remedy.DEFINE_FIRST) from None
        return cls(universe, path, hashlib.sha256(content).hexdigest())


def save(universe: Universe, path: Path, *, force: bool) -> None:
    """Write the file whole or not at all.

    Without `force` an existing file stays and TargetExists is raised. Raises UsageError when the path is a folder, UniverseError
    when the description cannot be written, and OutputError when the file cannot be.
    """
    files.refuse_folder(path, "the output")
    check_description(universe.description)
    with files.atomic_text(path, replace=force) as handle:
        handle.write(to_json(universe))


def to_json(universe: Universe) -> str:
    """The text of the file. The order of the keys, the indentation and the final newline belong to the format."""
    record: dict[str, Any] = {
        "schema_version": universe.schema_version,
        "requested_symbols": list(universe.requested_symbols),
        "start_date": universe.start_date.isoformat(),
        "end_date": universe.end_date.isoformat(),
    }
    if universe.listing is not Listing.EXCHANGE:
        record["listing"] = universe.listing.value
    if universe.selection is not None:
        record["selection"] = universe.selection.to_dict()
    record["daily_snapshots"] = [
        {
            "date": snapshot.date.isoformat(),
            "active_symbols": list(snapshot.active_symbols),
            "missing_symbols": {symbol: reason.value for symbol, reason in snapshot.missing_symbols.items()},
        }
        for snapshot in universe.daily_snapshots
    ]
    record["created_at"] = universe.created_at
    if universe.description is not None:
        record["description"] = universe.description
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def from_json(text: str) -> Universe:
    """Parse and validate the text of a universe file; UniverseError names the place of the first fault."""
    return _Reader().read(text)


def _fail(place: str, problem: str, hint: str | None = None) -> NoReturn:
    raise UniverseError(f"{place}: {problem}", hint=hint)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise UniverseError(f"the key {shorten(key)} appears twice in one object")
            seen.add(key)
    return record


def _no_constant(name: str) -> NoReturn:
    raise UniverseError(f"{name} is not JSON")


class _Reader:
    """Validates the parsed file and builds the universe from it; each method checks one part of the file."""

    _reasons: Mapping[str, MissingReason]
    """The reasons that are known in this file, by their text."""

    def read(self, text: str) -> Universe:
        try:
            record = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            raise UniverseError(f"not JSON at line {error.lineno} column {error.colno}: {error.msg.lower()}") from None
        except (RecursionError, ValueError):
            raise UniverseError("not a universe: nested too deeply, or a number too long") from None
        if not isinstance(record, dict):
            _fail("the file", "is not a JSON object")
        version = record.get("schema_version")
        if version not in (PLAIN_VERSION, OPT_IN_VERSION):
            known = f"{PLAIN_VERSION!r} or {OPT_IN_VERSION!r}"
            problem = "is missing" if version is None else f"is {shorten(version)}, not {known}"
            _fail("schema_version", problem, "define the universe again with this version")
        listing, selection = Listing.EXCHANGE, None
        if version == OPT_IN_VERSION:
            listing, selection = self._listing(record), self._selection(record)
        self._reasons = {reason.value: reason for reason in known_reasons(listing, selection)}
        requested = self._requested(record.get("requested_symbols"))
        window = Window(self._day(record.get("start_date"), "start_date"), self._day(record.get("end_date"), "end_date"))
        if window.end < window.start:
            _fail("end_date", f"{window.end} lies before start_date {window.start}")
        created_at = record.get("created_at")
        if not isinstance(created_at, str) or not _is_timestamp(created_at):
            _fail("created_at", f"{shorten(created_at)} is not an ISO 8601 time with its zone")
        description = record.get("description")
        check_description(description)
        snapshots = self._snapshots(record.get("daily_snapshots"), window, requested)
        return Universe(requested, window.start, window.end, snapshots, created_at, description, listing, selection)

    def _listing(self, record: Mapping[str, Any]) -> Listing:
        value = record.get("listing", Listing.EXCHANGE.value)
        known = {listing.value: listing for listing in Listing}
        if not isinstance(value, str) or value not in known:
            _fail("listing", f"is {shorten(value)}, not one of: {', '.join(known)}")
        return known[value]

    def _selection(self, record: Mapping[str, Any]) -> Selection | None:
        value = record.get("selection")
        if value is None:
            return None
        if not isinstance(value, dict):
            _fail("selection", "is not an object")
        try:
            return Selection.from_record(value)
        except UsageError as error:
            _fail("selection", error.message, error.hint)

    def _requested(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            _fail("requested_symbols", "is not a list of symbols")
        seen: set[str] = set()
        for index, symbol in enumerate(value):
            place = f"requested_symbols[{index}]"
            fault = symbols.fault_of(symbol)
            if fault:
                _fail(place, f"{shorten(symbol)} {fault}")
            if symbol in seen:
                _fail(place, f"{symbol} is listed twice")
            seen.add(symbol)
        return tuple(value)

    def _day(self, value: object, place: str) -> date:
        if not isinstance(value, str):
            _fail(place, f"{shorten(value)} is not a date")
        try:
            return parse_day(value, place)
        except UsageError as error:
            raise UniverseError(error.message, hint=error.hint) from None

    def _snapshots(self, value: object, window: Window, requested: tuple[str, ...]) -> tuple[DailySnapshot, ...]:
        if not isinstance(value, list):
            _fail("daily_snapshots", "is not a list")
        if len(value) != window.length:
            _fail("daily_snapshots", f"has {len(value)} days, but {window.start} to {window.end} are {window.length}")
        rank = {symbol: position for position, symbol in enumerate(requested)}
        snapshots: list[DailySnapshot] = []
        for index, (entry, day) in enumerate(zip(value, window.days(), strict=True)):
            place = f"daily_snapshots[{index}]"
            if not isinstance(entry, dict):
                _fail(place, "is not an object")
            if entry.get("date") != day.isoformat():
                _fail(
                    f"{place}.date", f"is {shorten(entry.get('date'))}, but {day} comes here: every day must be there, in order"
                )
            active = self._active(entry.get("active_symbols"), place, rank)
            missing = self._missing(entry.get("missing_symbols"), place, rank)
            if len(active) + len(missing) != len(requested) or not missing.keys().isdisjoint(active):
                self._explain_partition(place, active, missing, requested)
            snapshots.append(DailySnapshot(day, active, missing))
        return tuple(snapshots)

    def _active(self, value: object, place: str, rank: Mapping[str, int]) -> tuple[str, ...]:
        place = f"{place}.active_symbols"
        if not isinstance(value, list):
            _fail(place, "is not a list")
        self._check_order(value, place, rank, by_name=False)
        return tuple(value)

    def _missing(self, value: object, place: str, rank: Mapping[str, int]) -> dict[str, MissingReason]:
        place = f"{place}.missing_symbols"
        if not isinstance(value, dict):
            _fail(place, "is not an object")
        self._check_order(list(value), place, rank, by_name=True)
        missing: dict[str, MissingReason] = {}
        for symbol, reason in value.items():
            known = self._reasons.get(reason) if isinstance(reason, str) else None
            if known is None:
                hint = f"known: {', '.join(self._reasons)}"
                _fail(f"{place}[{symbol!r}]", f"unknown reason {shorten(reason)}", hint)
            missing[symbol] = known
        return missing

    def _check_order(self, names: list[Any], place: str, rank: Mapping[str, int], *, by_name: bool) -> None:
        last = -1
        for index, symbol in enumerate(names):
            position = rank.get(symbol, -1) if isinstance(symbol, str) else -1
            if position <= last:
                problem = "is not a requested symbol" if position < 0 else "is listed twice or out of the requested order"
                _fail(f"{place}[{shorten(symbol) if by_name else index}]", f"{shorten(symbol)} {problem}")
            last = position

    def _explain_partition(
        self, place: str, active: tuple[str, ...], missing: Mapping[str, MissingReason], requested: tuple[str, ...]
    ) -> NoReturn:
        for index, symbol in enumerate(active):
            if symbol in missing:
                _fail(f"{place}.active_symbols[{index}]", f"{symbol} is both active and missing")
        known = missing.keys() | set(active)
        lost = next(symbol for symbol in requested if symbol not in known)
        _fail(place, f"{lost} is neither active nor missing")


def check_description(description: object) -> None:
    """Raise UniverseError for a description that the file cannot hold.

    A byte of a command line that is not UTF-8 reaches Python as half of a character pair, which has no bytes in UTF-8.
    """
    if description is None:
        return
    if not isinstance(description, str):
        _fail("description", f"{shorten(description)} is not text")
    try:
        description.encode("utf-8")
    except UnicodeEncodeError:
        _fail("description", "holds half of a character pair, which UTF-8 text cannot")


def _is_timestamp(text: str) -> bool:
    try:
        # ISO 8601 allows a Z for UTC, which Python 3.10 does not read.
        return datetime.fromisoformat(text.removesuffix("Z") + ("+00:00" if text.endswith("Z") else "")).tzinfo is not None
    except ValueError:
        return False
