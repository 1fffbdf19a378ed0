"""universe.json: its bytes, the round trip, and what loading refuses."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.days import Window
from cryptoservice.errors import UsageError
from cryptoservice.files import TargetExists
from cryptoservice.models import MissingReason
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.model import DailySnapshot, Universe, UniverseError

UNLISTED = MissingReason.NOT_IN_CURRENT_TRADING_LIST
NO_KLINE = MissingReason.NO_KLINE_ON_DATE

EXAMPLE = Universe(
    requested_symbols=("BTCUSDT", "币安人生USDT"),
    start_date=date(2024, 2, 28),
    end_date=date(2024, 3, 1),
    daily_snapshots=(
        DailySnapshot(date(2024, 2, 28), ("BTCUSDT",), {"币安人生USDT": UNLISTED}),
        DailySnapshot(date(2024, 2, 29), ("BTCUSDT", "币安人生USDT"), {}),
        DailySnapshot(date(2024, 3, 1), (), {"BTCUSDT": NO_KLINE, "币安人生USDT": NO_KLINE}),
    ),
    created_at="2026-02-21T00:00:00+00:00",
    description='tests "éà"',
)
EXAMPLE_TEXT = """{
  "schema_version": "2.0",
  "requested_symbols": [
    "BTCUSDT",
    "币安人生USDT"
  ],
  "start_date": "2024-02-28",
  "end_date": "2024-03-01",
  "daily_snapshots": [
    {
      "date": "2024-02-28",
      "active_symbols": [
        "BTCUSDT"
      ],
      "missing_symbols": {
        "币安人生USDT": "not_in_current_trading_list"
      }
    },
    {
      "date": "2024-02-29",
      "active_symbols": [
        "BTCUSDT",
        "币安人生USDT"
      ],
      "missing_symbols": {}
    },
    {
      "date": "2024-03-01",
      "active_symbols": [],
      "missing_symbols": {
        "BTCUSDT": "no_kline_on_date",
        "币安人生USDT": "no_kline_on_date"
      }
    }
  ],
  "created_at": "2026-02-21T00:00:00+00:00",
  "description": "tests \\"éà\\""
}
"""


@st.composite
def universes(draw: st.DrawFn) -> Universe:
    letters = st.sampled_from("ABCXYZ019币安生_")
    names = st.text(letters, min_size=1, max_size=8).map(lambda text: text + "USDT")
    requested = tuple(draw(st.lists(names, min_size=1, max_size=6, unique=True)))
    start = draw(st.dates(date(2017, 1, 1), date(2035, 1, 1)))
    length = draw(st.integers(1, 12))
    snapshots = []
    for offset in range(length):
        fates = {name: draw(st.sampled_from((None, UNLISTED, NO_KLINE))) for name in requested}
        active = tuple(name for name, reason in fates.items() if reason is None)
        missing = {name: reason for name, reason in fates.items() if reason is not None}
        snapshots.append(DailySnapshot(start + timedelta(days=offset), active, missing))
    created = draw(st.sampled_from(("2026-02-21T00:00:00+00:00", "2026-02-21T05:30:00+05:30", "2026-02-21T00:00:00Z")))
    description = draw(st.none() | st.text(max_size=30))
    return Universe(requested, start, snapshots[-1].date, tuple(snapshots), created, description)


@settings(deadline=None, max_examples=40)
@given(universes())
def test_what_is_saved_is_what_is_loaded(universe: Universe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "universe.json"
        universe.save(path, force=False)
        content = path.read_bytes()
        loaded = UniverseFile.load(path)
        assert path.read_bytes() == content
    assert loaded.universe == universe
    assert loaded.sha256 == hashlib.sha256(content).hexdigest()
    assert loaded.universe.to_json().encode("utf-8") == content


def test_the_file_has_exactly_the_documented_bytes(tmp_path: Path) -> None:
    EXAMPLE.save(tmp_path / "universe.json", force=False)
    assert (tmp_path / "universe.json").read_bytes() == EXAMPLE_TEXT.encode("utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["universe.json"]


def test_a_description_that_was_not_given_is_left_out() -> None:
    record = json.loads(EXAMPLE_TEXT)
    del record["description"]
    universe = Universe.from_json(json.dumps(record))
    assert universe.description is None
    assert '"description"' not in universe.to_json()


def test_an_existing_file_stays_without_force(tmp_path: Path) -> None:
    path = tmp_path / "universe.json"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(TargetExists, match="exists already"):
        EXAMPLE.save(path, force=False)
    assert path.read_text(encoding="utf-8") == "precious"
    EXAMPLE.save(path, force=True)
    assert path.read_text(encoding="utf-8") == EXAMPLE_TEXT


def test_saving_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        EXAMPLE.save(tmp_path, force=True)


def _snapshot(record: dict[str, Any], index: int) -> dict[str, Any]:
    snapshot: dict[str, Any] = record["daily_snapshots"][index]
    return snapshot


def _set(record: dict[str, Any], **fields: object) -> None:
    record.update(fields)


def _set_day(record: dict[str, Any], index: int, **fields: object) -> None:
    _snapshot(record, index).update(fields)


FAULTS: list[tuple[Callable[[dict[str, Any]], object], str, str]] = [
    (lambda r: r.pop("schema_version"), "schema_version", "is missing"),
    (lambda r: _set(r, schema_version="1.0"), "schema_version", "'1.0', not '2.0'"),
    (lambda r: _set(r, schema_version="3.0"), "schema_version", "'3.0', not '2.0'"),
    (lambda r: _set(r, schema_version=2.0), "schema_version", "is 2.0, not '2.0'"),
    (lambda r: r.pop("requested_symbols"), "requested_symbols", "not a list of symbols"),
    (lambda r: _set(r, requested_symbols=[]), "requested_symbols", "not a list of symbols"),
    (lambda r: _set(r, requested_symbols="BTCUSDT"), "requested_symbols", "not a list of symbols"),
    (lambda r: _set(r, requested_symbols=["BTCUSDT", "../X"]), "requested_symbols[1]", "could leave its folder"),
    (lambda r: _set(r, requested_symbols=["btcusdt"]), "requested_symbols[0]", "is not upper case"),
    (lambda r: _set(r, requested_symbols=["BTCUSDT", None]), "requested_symbols[1]", "None is not a symbol name"),
    (lambda r: _set(r, requested_symbols=["A", "B", "A"]), "requested_symbols[2]", "A stands there twice"),
    (lambda r: _set(r, start_date="2024-02-30"), "start_date", "2024-02-30 is not a day of the calendar"),
    (lambda r: _set(r, end_date="2024-3-1"), "end_date", "is not a date"),
    (lambda r: _set(r, start_date=20240228), "start_date", "20240228 is not a date"),
    (lambda r: r.pop("end_date"), "end_date", "None is not a date"),
    (lambda r: _set(r, start_date="2024-03-02"), "end_date", "2024-03-01 lies before start_date 2024-03-02"),
    (lambda r: _set(r, created_at="yesterday"), "created_at", "is not an ISO 8601 time with its zone"),
    (lambda r: _set(r, created_at="2026-02-21T00:00:00"), "created_at", "is not an ISO 8601 time with its zone"),
    (lambda r: _set(r, created_at=1771632000), "created_at", "is not an ISO 8601 time with its zone"),
    (lambda r: r.pop("created_at"), "created_at", "is not an ISO 8601 time with its zone"),
    (lambda r: _set(r, description=7), "description", "7 is not text"),
    (lambda r: _set(r, description="\ud800"), "description", "half of a character pair"),
    (lambda r: r.pop("daily_snapshots"), "daily_snapshots", "is not a list"),
    (lambda r: _set(r, daily_snapshots={}), "daily_snapshots", "is not a list"),
    (lambda r: r["daily_snapshots"].pop(1), "daily_snapshots", "has 2 days where 2024-02-28 to 2024-03-01 are 3"),
    (lambda r: r["daily_snapshots"].append(_snapshot(r, 2)), "daily_snapshots", "has 4 days where"),
    (lambda r: _set(r, daily_snapshots=[_snapshot(r, 0)] * 3), "daily_snapshots[1].date", "2024-02-29 is due"),
    (lambda r: r["daily_snapshots"].reverse(), "daily_snapshots[0].date", "'2024-03-01' where 2024-02-28 is due"),
    (lambda r: _set_day(r, 1, date="2024-02-29T00:00"), "daily_snapshots[1].date", "2024-02-29 is due"),
    (lambda r: _snapshot(r, 1).pop("date"), "daily_snapshots[1].date", "None where 2024-02-29 is due"),
    (lambda r: r["daily_snapshots"].__setitem__(1, "x"), "daily_snapshots[1]", "is not an object"),
    (lambda r: _set_day(r, 1, active_symbols=None), "daily_snapshots[1].active_symbols", "is not a list"),
    (lambda r: _set_day(r, 1, missing_symbols=[]), "daily_snapshots[1].missing_symbols", "is not an object"),
    (
        lambda r: _set_day(r, 1, active_symbols=["BTCUSDT", "DOGEUSDT"]),
        "daily_snapshots[1].active_symbols[1]",
        "'DOGEUSDT' is not a requested symbol",
    ),
    (
        lambda r: _set_day(r, 1, active_symbols=["BTCUSDT", ["币安人生USDT"]]),
        "daily_snapshots[1].active_symbols[1]",
        "is not a requested symbol",
    ),
    (
        lambda r: _set_day(r, 1, active_symbols=["币安人生USDT", "BTCUSDT"]),
        "daily_snapshots[1].active_symbols[1]",
        "twice or out of requested order",
    ),
    (
        lambda r: _set_day(r, 1, active_symbols=["BTCUSDT", "BTCUSDT"]),
        "daily_snapshots[1].active_symbols[1]",
        "twice or out of requested order",
    ),
    (
        lambda r: _set_day(r, 2, missing_symbols={"币安人生USDT": "no_kline_on_date", "BTCUSDT": "no_kline_on_date"}),
        "daily_snapshots[2].missing_symbols['BTCUSDT']",
        "twice or out of requested order",
    ),
    (
        lambda r: _set_day(r, 0, missing_symbols={"DOGEUSDT": "no_kline_on_date"}),
        "daily_snapshots[0].missing_symbols['DOGEUSDT']",
        "is not a requested symbol",
    ),
    (
        lambda r: _set_day(r, 0, missing_symbols={"币安人生USDT": "delisted"}),
        "daily_snapshots[0].missing_symbols['币安人生USDT']",
        "unknown reason 'delisted'",
    ),
    (
        lambda r: _set_day(r, 0, missing_symbols={"币安人生USDT": None}),
        "daily_snapshots[0].missing_symbols['币安人生USDT']",
        "unknown reason None",
    ),
    (
        lambda r: _set_day(r, 0, active_symbols=["BTCUSDT", "币安人生USDT"]),
        "daily_snapshots[0].active_symbols[1]",
        "币安人生USDT is both active and missing",
    ),
    (
        lambda r: _set_day(r, 0, active_symbols=["币安人生USDT"]),
        "daily_snapshots[0].active_symbols[0]",
        "币安人生USDT is both active and missing",
    ),
    (lambda r: _set_day(r, 0, active_symbols=[]), "daily_snapshots[0]", "BTCUSDT is neither active nor missing"),
    (lambda r: _set_day(r, 0, missing_symbols={}), "daily_snapshots[0]", "币安人生USDT is neither active nor missing"),
]


@pytest.mark.parametrize(("spoil", "place", "problem"), FAULTS)
def test_each_broken_rule_is_refused_with_its_place(spoil: Callable[[dict[str, Any]], object], place: str, problem: str) -> None:
    record = copy.deepcopy(json.loads(EXAMPLE_TEXT))
    spoil(record)
    with pytest.raises(UniverseError) as caught:
        Universe.from_json(json.dumps(record))
    assert caught.value.message.startswith(f"{place}: ")
    assert problem in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON at line 1 column 1"),
        ("{", "not JSON at line 1 column 2"),
        (EXAMPLE_TEXT + "x", "not JSON at line 39 column 1"),
        ("[]", "the file: is not a JSON object"),
        ('"2.0"', "the file: is not a JSON object"),
        ("null", "the file: is not a JSON object"),
        (EXAMPLE_TEXT.replace('"BTCUSDT"\n', "NaN\n", 1), "NaN is not JSON"),
        (EXAMPLE_TEXT.replace('"tests \\"éà\\""', "-Infinity"), "-Infinity is not JSON"),
        ("[" * 10_000, "nested too deeply"),
        ("[" * 10_000 + "]" * 10_000, "nested too deeply"),
        ('{"a":' * 10_000, "nested too deeply"),
        ('{"schema_version": ' + "1" * 5_000 + "}", ""),
        ('{"schema_version": "2.0", "schema_version": "2.0"}', "the key 'schema_version' stands twice"),
        (EXAMPLE_TEXT.replace('"BTCUSDT": "no_kline', '"币安人生USDT": "no_kline'), "the key '币安人生USDT' stands twice"),
        (EXAMPLE_TEXT.replace('"end_date"', '"start_date"'), "the key 'start_date' stands twice"),
    ],
    ids=range(15),
)
def test_what_is_no_strict_json_object_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UniverseError) as caught:
        Universe.from_json(text)
    assert problem in caught.value.message
    assert len(caught.value.message) < 300


def test_the_hint_of_another_schema_version_says_what_to_do() -> None:
    with pytest.raises(UniverseError) as caught:
        Universe.from_json(EXAMPLE_TEXT.replace('"2.0"', '"1.0"'))
    assert caught.value.hint == "make the universe anew with this version's define"


def test_loading_names_the_file_and_the_place(tmp_path: Path) -> None:
    path = tmp_path / "u.json"
    path.write_text(EXAMPLE_TEXT.replace('"2024-02-29"', '"2024-02-30"'), encoding="utf-8")
    with pytest.raises(UniverseError, match=r"u\.json: daily_snapshots\[1\]\.date: '2024-02-30'"):
        UniverseFile.load(path)


def test_loading_refuses_what_is_no_readable_text_file(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(EXAMPLE_TEXT.encode("utf-16"))
    with pytest.raises(UniverseError, match="is not UTF-8 text"):
        UniverseFile.load(tmp_path / "latin.json")
    with pytest.raises(UniverseError, match="is a folder"):
        UniverseFile.load(tmp_path)
    with pytest.raises(UniverseError, match="does not exist"):
        UniverseFile.load(tmp_path / "absent.json")
    with pytest.raises(UniverseError, match="its name cannot be used"):
        UniverseFile.load(tmp_path / "nul\0byte")


def test_loading_refuses_a_file_too_large_to_be_a_universe(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as handle:
        handle.truncate(128 * 1024 * 1024 + 1)
    with pytest.raises(UniverseError, match="is larger than 128 MiB"):
        UniverseFile.load(path)


def test_subwindow_defaults_to_the_universe() -> None:
    whole = Window(date(2024, 2, 28), date(2024, 3, 1))
    assert EXAMPLE.window == whole
    assert EXAMPLE.subwindow(None, None) == whole
    assert EXAMPLE.subwindow("2024-02-29", None) == Window(date(2024, 2, 29), date(2024, 3, 1))
    assert EXAMPLE.subwindow(None, "2024-02-29") == Window(date(2024, 2, 28), date(2024, 2, 29))


@pytest.mark.parametrize(
    ("start", "end", "problem"),
    [
        ("2024-02-27", None, "--start-date 2024-02-27 lies outside the universe"),
        ("2024-03-02", None, "--start-date 2024-03-02 lies outside the universe"),
        (None, "2024-03-02", "--end-date 2024-03-02 lies outside the universe"),
        (None, "2024-02-27", "--end-date 2024-02-27 lies outside the universe"),
        ("2024-03-01", "2024-02-29", "the window ends 2024-02-29, before it starts 2024-03-01"),
        ("2024-02-30", None, "--start-date: 2024-02-30 is not a day of the calendar"),
        (None, "tomorrow", "--end-date: 'tomorrow' is not a date"),
    ],
)
def test_subwindow_refuses_what_lies_outside_or_is_reversed(start: str | None, end: str | None, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        EXAMPLE.subwindow(start, end)
    assert caught.value.message == problem


def test_active_days_of_a_window() -> None:
    assert EXAMPLE.active_symbol_days == 3
    assert EXAMPLE.active_days(EXAMPLE.window) == {
        "BTCUSDT": [date(2024, 2, 28), date(2024, 2, 29)],
        "币安人生USDT": [date(2024, 2, 29)],
    }
    assert EXAMPLE.active_days(Window(date(2024, 2, 28), date(2024, 2, 28))) == {"BTCUSDT": [date(2024, 2, 28)]}
    assert EXAMPLE.active_days(Window(date(2024, 3, 1), date(2024, 3, 1))) == {}


def test_snapshots_of_a_window_are_those_of_its_days() -> None:
    window = Window(date(2024, 2, 29), date(2024, 3, 1))
    assert list(EXAMPLE.snapshots(window)) == list(EXAMPLE.daily_snapshots[1:])


def test_a_description_that_is_no_text_cannot_be_saved_and_says_so(tmp_path: Path) -> None:
    # A stray byte on the command line reaches Python as half of a character pair.
    broken = replace(EXAMPLE, description="caf\udce9")
    with pytest.raises(UsageError):
        broken.save(tmp_path / "universe.json", force=False)
    assert list(tmp_path.iterdir()) == []
