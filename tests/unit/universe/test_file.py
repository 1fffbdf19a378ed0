"""universe.json: its bytes, the round trip, and what loading refuses."""

from __future__ import annotations

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

from cryptoservice.errors import Remedy, UsageError
from cryptoservice.files import TargetExists
from cryptoservice.models import MissingReason
from cryptoservice.universe.file import UniverseError, UniverseFile, check_description, from_json, save, to_json
from cryptoservice.universe.model import DailySnapshot, Listing, Universe
from cryptoservice.universe.selection import Rebalance, Selection
from tests.unit.universe.samples import EXAMPLE, NO_KLINE, UNLISTED

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
        save(universe, path, force=False)
        content = path.read_bytes()
        loaded = UniverseFile.load(path)
        assert path.read_bytes() == content
    assert loaded.universe == universe
    assert loaded.sha256 == hashlib.sha256(content).hexdigest()
    assert to_json(loaded.universe).encode("utf-8") == content


def test_the_file_has_exactly_the_documented_bytes(tmp_path: Path) -> None:
    save(EXAMPLE, tmp_path / "universe.json", force=False)
    assert (tmp_path / "universe.json").read_bytes() == EXAMPLE_TEXT.encode("utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["universe.json"]


def test_a_description_that_was_not_given_is_left_out() -> None:
    record = json.loads(EXAMPLE_TEXT)
    del record["description"]
    universe = from_json(json.dumps(record))
    assert universe.description is None
    assert '"description"' not in to_json(universe)


def test_an_existing_file_stays_without_force(tmp_path: Path) -> None:
    path = tmp_path / "universe.json"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(TargetExists, match="exists already"):
        save(EXAMPLE, path, force=False)
    assert path.read_text(encoding="utf-8") == "precious"
    save(EXAMPLE, path, force=True)
    assert path.read_text(encoding="utf-8") == EXAMPLE_TEXT


def test_saving_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        save(EXAMPLE, tmp_path, force=True)


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
    (lambda r: _set(r, requested_symbols=["A", "B", "A"]), "requested_symbols[2]", "A is listed twice"),
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
    (lambda r: r["daily_snapshots"].pop(1), "daily_snapshots", "has 2 days, but 2024-02-28 to 2024-03-01 are 3"),
    (lambda r: r["daily_snapshots"].append(_snapshot(r, 2)), "daily_snapshots", "has 4 days, but"),
    (lambda r: _set(r, daily_snapshots=[_snapshot(r, 0)] * 3), "daily_snapshots[1].date", "2024-02-29 comes here"),
    (lambda r: r["daily_snapshots"].reverse(), "daily_snapshots[0].date", "is '2024-03-01', but 2024-02-28 comes here"),
    (lambda r: _set_day(r, 1, date="2024-02-29T00:00"), "daily_snapshots[1].date", "2024-02-29 comes here"),
    (lambda r: _snapshot(r, 1).pop("date"), "daily_snapshots[1].date", "is None, but 2024-02-29 comes here"),
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
        "twice or out of the requested order",
    ),
    (
        lambda r: _set_day(r, 1, active_symbols=["BTCUSDT", "BTCUSDT"]),
        "daily_snapshots[1].active_symbols[1]",
        "twice or out of the requested order",
    ),
    (
        lambda r: _set_day(r, 2, missing_symbols={"币安人生USDT": "no_kline_on_date", "BTCUSDT": "no_kline_on_date"}),
        "daily_snapshots[2].missing_symbols['BTCUSDT']",
        "twice or out of the requested order",
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


def refusal(text: str) -> str:
    """What reading this text is refused with."""
    try:
        from_json(text)
    except UniverseError as error:
        assert error.exit_code == 2
        return error.message
    return "accepted"


def test_each_broken_rule_is_refused_with_its_place() -> None:
    for spoil, place, problem in FAULTS:
        record = json.loads(EXAMPLE_TEXT)
        spoil(record)
        found, _, said = refusal(json.dumps(record)).partition(": ")
        assert (found, problem in said) == (place, True), said


NOT_STRICT_JSON = [
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
    ('{"schema_version": "2.0", "schema_version": "2.0"}', "the key 'schema_version' appears twice"),
    (EXAMPLE_TEXT.replace('"BTCUSDT": "no_kline', '"币安人生USDT": "no_kline'), "the key '币安人生USDT' appears twice"),
    (EXAMPLE_TEXT.replace('"end_date"', '"start_date"'), "the key 'start_date' appears twice"),
]


def test_what_is_no_strict_json_object_is_refused() -> None:
    for text, problem in NOT_STRICT_JSON:
        said = refusal(text)
        assert said != "accepted", text[:80]
        assert problem in said, text[:80]
        assert len(said) < 300


def test_the_hint_of_another_schema_version_says_what_to_do() -> None:
    with pytest.raises(UniverseError) as caught:
        from_json(EXAMPLE_TEXT.replace('"2.0"', '"1.0"'))
    assert caught.value.hint == "define the universe again with this version"


def test_loading_names_the_file_and_the_place(tmp_path: Path) -> None:
    path = tmp_path / "u.json"
    path.write_text(EXAMPLE_TEXT.replace('"2024-02-29"', '"2024-02-30"'), encoding="utf-8")
    with pytest.raises(UniverseError, match=r"u\.json: daily_snapshots\[1\]\.date: is '2024-02-30'"):
        UniverseFile.load(path)


def test_loading_refuses_what_is_no_readable_text_file(tmp_path: Path) -> None:
    latin, absent = tmp_path / "latin.json", tmp_path / "absent.json"
    latin.write_bytes(EXAMPLE_TEXT.encode("utf-16"))
    for path, problem, remedy in (
        (latin, f"universe file {latin} is not UTF-8 text", Remedy.DEFINE_FIRST),
        (absent, f"universe file {absent} does not exist", Remedy.DEFINE_FIRST),
        (tmp_path, f"universe file {tmp_path} is a folder", None),
    ):
        with pytest.raises(UniverseError) as caught:
            UniverseFile.load(path)
        assert (caught.value.message, caught.value.remedy) == (problem, remedy)
    with pytest.raises(UniverseError, match="its name cannot be used"):
        UniverseFile.load(tmp_path / "nul\0byte")


def test_a_fault_of_the_content_is_answered_with_its_own_hint_or_with_defining_again(tmp_path: Path) -> None:
    path = tmp_path / "u.json"
    for old, new, hint in (
        ('"2024-02-28"', '"2024-2-28"', "write it as YYYY-MM-DD"),
        ('"no_kline_on_date"', '"delisted"', "known: not_in_current_trading_list, no_kline_on_date"),
        ('"requested_symbols"', '"symbols"', "define a universe first"),
    ):
        path.write_text(EXAMPLE_TEXT.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(UniverseError) as caught:
            UniverseFile.load(path)
        assert caught.value.hint == hint
        assert str(caught.value) == f"{caught.value.message}; {hint}"


def test_loading_refuses_a_file_too_large_to_be_a_universe(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as handle:
        handle.truncate(192 * 1024 * 1024 + 1)
    with pytest.raises(UniverseError, match="is larger than 192 MiB"):
        UniverseFile.load(path)


def test_a_description_that_the_file_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    # A stray byte on the command line reaches Python as half of a character pair.
    broken = replace(EXAMPLE, description="caf\udce9")
    with pytest.raises(UniverseError, match="description: holds half of a character pair"):
        save(broken, tmp_path / "universe.json", force=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UniverseError, match="description: 7 is not text"):
        check_description(7)
    for fine in (None, "", "café 币安"):
        check_description(fine)


RANKED = replace(
    EXAMPLE,
    listing=Listing.ARCHIVE,
    selection=Selection(1, 7, Rebalance.WEEK),
    daily_snapshots=(
        DailySnapshot(date(2024, 2, 28), ("BTCUSDT",), {"币安人生USDT": MissingReason.NOT_IN_ARCHIVE}),
        DailySnapshot(date(2024, 2, 29), ("币安人生USDT",), {"BTCUSDT": MissingReason.BELOW_RANK}),
        DailySnapshot(date(2024, 3, 1), (), {"BTCUSDT": MissingReason.NO_TRADES_ON_DATE, "币安人生USDT": NO_KLINE}),
    ),
)


def test_what_was_opted_in_stands_in_schema_2_1() -> None:
    text = to_json(RANKED)
    assert from_json(text) == RANKED
    record = json.loads(text)
    assert list(record) == [
        "schema_version", "requested_symbols", "start_date", "end_date", "listing", "selection", "daily_snapshots", "created_at",
        "description",
    ]  # fmt: skip
    assert (record["schema_version"], record["listing"]) == ("2.1", "archive")
    assert record["selection"] == {"top": 1, "by": "quote_volume", "lookback_days": 7, "rebalance": "week"}
    ranked = replace(EXAMPLE, selection=Selection(2))
    record = json.loads(to_json(ranked))
    assert (record["schema_version"], "listing" in record) == ("2.1", False)
    assert from_json(to_json(ranked)) == ranked


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"listing": "bucket"}, "listing: is 'bucket'"),
        ({"listing": None}, "listing: is None"),
        ({"listing": ["archive"]}, "listing: is ['archive']"),
        # The reasons of the one listing are none of the other's.
        ({"listing": "exchange"}, "daily_snapshots[0].missing_symbols['币安人生USDT']: unknown reason 'not_in_archive'"),
        ({"selection": 3}, "selection: is not an object"),
        ({"selection": {"top": 0, "by": "quote_volume", "lookback_days": 7, "rebalance": "week"}}, "selection: top is 0"),
        ({"selection": {"top": 1, "by": "trades", "lookback_days": 7, "rebalance": "week"}}, "selection: by is 'trades'"),
        ({"selection": {"top": 1, "by": "quote_volume", "rebalance": "week"}}, "selection: lookback days is None"),
        ({"selection": {"top": 1, "by": "quote_volume", "lookback_days": 7}}, "selection: rebalance is None"),
        ({"selection": None}, "daily_snapshots[1].missing_symbols['BTCUSDT']: unknown reason 'below_rank'"),
        ({"schema_version": "2.0"}, "daily_snapshots[0].missing_symbols['币安人生USDT']: unknown reason 'not_in_archive'"),
        ({"schema_version": "2.2"}, "schema_version: is '2.2', not '2.0' or '2.1'"),
    ],
)
def test_what_schema_2_1_does_not_allow_is_named(change: dict[str, Any], place: str) -> None:
    record = {**json.loads(to_json(RANKED)), **change}
    with pytest.raises(UniverseError) as caught:
        from_json(json.dumps(record))
    assert caught.value.message.startswith(place)
