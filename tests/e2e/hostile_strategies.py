"""What the fuzz tests hand in: odd values of every kind, valid universes, and ways to change one place."""

from __future__ import annotations

import copy
import io
import json
import zipfile
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from cryptoservice.binance.parsers.rows_by_day import RowsByDay
from cryptoservice.universe.model import DailySnapshot, Listing, Universe, known_reasons
from cryptoservice.universe.selection import Rebalance, Selection
from cryptoservice.universe.symbols import fault_of

FEBRUARY = date(2026, 2, 1)
FEBRUARY_MS = 1_769_904_000_000
DAY = 86_400_000
MINUTE = 60_000

texts = st.text(max_size=20)
odd_texts = st.sampled_from(
    ["", "NaN", "1e999", "-1", "1,2", "[1]", "\ud800", "\x00", "=1", "../x", "9" * 5000, "١", "1_0", " 1"]
)
numbers = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.none(), st.sampled_from([10**400, -(10**400), float("nan"), float("inf"), -0.0])
)
scalars = st.one_of(numbers, texts, odd_texts)
anything = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)), max_leaves=12
)


safe_symbols = st.one_of(
    st.from_regex(r"[A-Z0-9][A-Z0-9_.-]{0,10}", fullmatch=True), st.sampled_from(["币安人生USDT", "1000X", "ÜUSDT"])
)


@st.composite
def universes(draw: st.DrawFn) -> Universe:
    """Valid ones."""
    symbols = tuple(draw(st.lists(safe_symbols.filter(lambda name: fault_of(name) is None), min_size=1, max_size=5, unique=True)))
    first = draw(st.dates(date(2017, 1, 1), date(2030, 1, 1)))
    listing = draw(st.sampled_from(Listing))
    selections = st.builds(Selection, st.integers(1, 100), st.integers(1, 90), st.sampled_from(Rebalance))
    selection = draw(st.none() | selections)
    reasons = known_reasons(listing, selection)
    snapshots = []
    for number in range(draw(st.integers(1, 5))):
        fates = draw(st.lists(st.sampled_from([None, *reasons]), min_size=len(symbols), max_size=len(symbols)))
        fated = list(zip(symbols, fates, strict=True))
        active = tuple(symbol for symbol, fate in fated if fate is None)
        missing = {symbol: fate for symbol, fate in fated if fate is not None}
        snapshots.append(DailySnapshot(first + timedelta(days=number), active, missing))
    description = draw(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
    created_at = "2026-02-21T00:00:00+00:00"
    return Universe(symbols, first, snapshots[-1].date, tuple(snapshots), created_at, description, listing, selection)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, item in inner for place in places(item, (*path, name)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at that place."""
    if not path:
        return new
    made = copy.deepcopy(value)
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = new
    return made


def assert_sane(table: RowsByDay) -> None:
    """What counts as market data: ordered, in range, on the grid, finite, high and low around open and close."""
    for day, rows in table.days.items():
        start = FEBRUARY_MS + (day - FEBRUARY).days * DAY
        times = [row[0] for row in rows]
        assert times == sorted(set(times))
        for moment, opened, high, low, close, *amounts in rows:
            assert start <= moment < start + DAY
            assert moment % MINUTE == 0
            assert 0 < low <= min(opened, close) <= max(opened, close) <= high <= 1e18
            assert all(0 <= amount <= 1e18 for amount in amounts)
            assert isinstance(amounts[2], int)


def zipped(text: str, compression: int) -> bytes:
    """A day's object of forty rows."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made:
        made.writestr("LINKUSDT-1m-2026-02-01.csv", text)
    return stream.getvalue()


def metric_label(minute: int) -> str:
    moment = timedelta(minutes=minute)
    day = FEBRUARY + timedelta(days=moment.days)
    return f"{day} {moment.seconds // 3600:02}:{moment.seconds // 60 % 60:02}:00"


def assert_funding(table: RowsByDay) -> None:
    for moment, rate, price, kind in (row for rows in table.days.values() for row in rows):
        assert FEBRUARY_MS <= moment < FEBRUARY_MS + DAY
        assert isinstance(moment, int)
        assert abs(rate) <= 100
        assert price is None or 0 <= price <= 1e18
        assert kind.isalnum()
        assert kind.encode()


def assert_plain(text: str, length: int) -> None:
    """Fit for a report, a log line and the ledger."""
    assert len(text) <= length
    assert text.encode()
    assert text.isprintable()


header_texts = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=30),
    st.sampled_from(
        ["9" * 5000, "-1", "0", "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359", ", , ,", "1e9", "²"]
    ),
)
bodies = st.one_of(
    st.binary(max_size=60),
    anything.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda code, msg: json.dumps({"code": code, "msg": msg}).encode(),
        st.one_of(st.integers(-4200, 0), anything),
        anything,
    ),
    st.sampled_from(
        [b"[" * 50_000, b'{"code":' + b"9" * 5000 + b"}", b"IP banned until 9999999999999", b"banned until 99999999999999"]
    ),
)

amounts = st.one_of(
    st.decimals(0, 10**6, places=8), st.decimals(0, 10**12, places=3), st.decimals(0, 1, places=8), st.just(Decimal(0))
).map(float)
prices = st.lists(st.decimals("0.00000001", 10**6, places=8).map(float), min_size=4, max_size=4).map(sorted)
