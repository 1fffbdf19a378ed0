"""The canonical form of a row, to the byte: what docs/formats.md says, and what SQLite makes of odd values."""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.audit.dataset_lock.digests import SymbolMonth, read_contents, root_of
from cryptoservice.audit.dataset_lock.records import RecordForm, canonical_day, form_of
from cryptoservice.clock import Clock
from cryptoservice.days import day_of_ms
from cryptoservice.models import Dataset, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.reader import StoreReader
from tests.unit.audit.dataset_lock import by_hand
from tests.unit.audit.dataset_lock.samples import DAYS, A, rows_of, store, symbol_day
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, kline
from tests.unit.storage.samples import run_script

PAGE = Path(__file__).parents[4] / "docs" / "formats.md"
TYPES = {Dataset(view): types for view, (_, types) in by_hand.VIEWS.items()}


@dataclass
class Vector:
    """One symbol-month of the page's test vector."""

    rows: list[list[Any]] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    sha256: str = ""


def vectors() -> tuple[dict[str, Vector], str]:
    """The test vector of the page by symbol-month, and its root."""
    (text,) = re.findall(r"^```text\n(digest of .*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: dict[str, Vector] = {}
    root = ""
    for line in text.splitlines():
        words = line.split()
        if words[0] == "digest":
            vector = found[" ".join(words[2:])] = Vector()
        elif words[0] == "row":
            vector.rows.append([value_of(word) for word in line.split("row")[1].split(",")])
            vector.records.append(b"")
        elif words[0] == "sha256":
            vector.sha256 = words[1]
        elif words[0] == "root":
            root = words[1]
        else:
            vector.records[-1] += bytes.fromhex(words[-1])
    return found, root


def value_of(word: str) -> Any:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return None if word.strip() == "NULL" else word.strip()


def test_the_vector_of_the_page_follows_from_its_words() -> None:
    """Another program has the page alone; here the standard library takes its place."""
    found, root = vectors()
    tree: by_hand.Tree = {}
    for place, vector in found.items():
        dataset, symbol, month = place.split()
        types = by_hand.VIEWS[dataset.partition("/")[0]][1]
        assert [by_hand.record(types, row) for row in vector.rows] == vector.records
        assert hashlib.sha256(b"".join(vector.records)).hexdigest() == vector.sha256
        tree.setdefault(dataset, {}).setdefault(symbol, {})[month] = vector.sha256
    assert list(tree) == ["klines/5m", "metrics/5m", "funding_rates"]
    assert by_hand.root(tree) == root
    assert [len(record) for record in found["klines/5m LINKUSDT 2026-02"].records] == [84, 84]
    assert [len(record) for record in found["metrics/5m LINKUSDT 2026-02"].records] == [60]


def test_a_database_with_the_rows_of_the_page_has_its_digests(tmp_path: Path) -> None:
    found, root = vectors()
    days = []
    for place, vector in found.items():
        dataset, symbol, _ = place.split()
        view, _, freq = dataset.partition("/")
        for row in vector.rows:
            series = Series(Dataset(view), freq, symbol)
            days.append(SymbolDay(series, day_of_ms(row[0]), Status.COMPLETE, None, [tuple(row)], 1, "daily", 0.0))
    with StoreReader.open(store(tmp_path / "market.db", days)) as reader:
        contents = read_contents(reader, {"LINKUSDT": [date(2026, 2, 1), date(2026, 2, 2)]}, Clock(), None)
    assert {" ".join(place): digest.sha256 for place, digest in contents.digests.items()} == {
        place: vector.sha256 for place, vector in found.items()
    }
    assert root_of(contents.digests) == root
    # The lock that the page shows is that of these rows.
    page = PAGE.read_text(encoding="utf-8")
    assert f'"root": "{root}"' in page
    assert contents.digests[SymbolMonth("klines/5m", "LINKUSDT", "2026-02")].marks in page


FLOATS = st.floats(allow_nan=False)
VALUES = {"q": st.integers(-(2**63), 2**63 - 1), "d": FLOATS, "s": st.text(st.characters(exclude_categories=["Cs"]))}


@st.composite
def rows(draw: st.DrawFn) -> tuple[Dataset, tuple[Any, ...]]:
    dataset = draw(st.sampled_from(Dataset))
    first, *others = TYPES[dataset]
    return dataset, (draw(VALUES[first]), *(draw(st.none() | VALUES[kind]) for kind in others))


@given(rows())
def test_any_row_is_packed_as_by_hand(drawn: tuple[Dataset, tuple[Any, ...]]) -> None:
    dataset, row = drawn
    form = form_of(dataset)
    # A negative zero never comes out of a database, and by hand it counts as zero.
    row = tuple(0.0 if value == 0.0 and isinstance(value, float) else value for value in row)
    expected = by_hand.record(TYPES[dataset], row)
    assert form.pack(*row) == expected
    if form.whole is not None and None not in row:
        assert form.whole(*row) == expected


def test_a_value_of_another_type_has_no_record() -> None:
    form = RecordForm(Dataset.FUNDING_RATES)
    for row in ((1.5, 1.0, 1.0, "r"), (1, "1.0", 1.0, "r"), (1, 1.0, b"\0", "r"), (1, 1.0, 1.0, 1), (None, 1.0, 1.0, "r")):
        with pytest.raises(struct.error):
            form.pack(*row)


@pytest.mark.parametrize("dataset", Dataset)
def test_sqlite_packs_what_it_holds(tmp_path: Path, dataset: Dataset) -> None:
    """With NULLs and without, in the order of the key, and nothing of the days before and after."""
    freq = {Dataset.KLINES: "4h", Dataset.METRICS: "5m", Dataset.FUNDING_RATES: ""}[dataset]
    path = store(tmp_path / "market.db", [symbol_day(dataset, freq, A, day) for day in DAYS])
    with StoreReader.open(path) as reader:
        for day in (*DAYS, date(2026, 2, 3)):
            expected = [by_hand.record(TYPES[dataset], row) for row in rows_of(dataset, freq, A, day)] if day in DAYS else []
            assert canonical_day(reader, Series(dataset, freq, A), day) == expected
        assert canonical_day(reader, Series(dataset, freq, "OTHERUSDT"), DAYS[0]) == []


def test_funding_rates_of_one_moment_are_in_the_order_of_their_types(tmp_path: Path) -> None:
    rates = [(FEBRUARY_MS, 0.1, None, kind) for kind in ("Special", "Z", "币", "a", "Regular")]
    series = Series(Dataset.FUNDING_RATES, "", A)
    path = store(tmp_path / "market.db", [SymbolDay(series, FEBRUARY, Status.COMPLETE, None, rates, 5, "rest", 0.0)])
    ordered = sorted(rates, key=lambda rate: rate[3].encode())
    with StoreReader.open(path) as reader:
        assert canonical_day(reader, series, FEBRUARY) == [by_hand.record("qdds", rate) for rate in ordered]


def test_sqlite_stores_no_negative_zero_and_no_nan(tmp_path: Path) -> None:
    """What docs/formats.md says of them: neither has a form of its own."""
    series = Series(Dataset.METRICS, "5m", A)
    row = (FEBRUARY_MS, -0.0, float("nan"), float("inf"), -0.0, None, 5e-324)
    path = store(tmp_path / "market.db", [SymbolDay(series, FEBRUARY, Status.COMPLETE, None, [row], 1, "rest", 0.0)])
    with StoreReader.open(path) as reader:
        same = (FEBRUARY_MS, 0.0, None, float("inf"), 0.0, None, 5e-324)
        assert canonical_day(reader, series, FEBRUARY) == [by_hand.record("qdddddd", same)]
        assert struct.pack("<d", 0.0) == bytes(8)


@pytest.mark.parametrize(
    "assignment",
    ["close = 'text'", "close = x'00'", "trades = 1.5", "trades = 'many'", "open_time = open_time + 0.5"],
)
def test_a_value_that_no_download_stores_is_noticed(tmp_path: Path, assignment: str) -> None:
    series = Series(Dataset.KLINES, "1h", A)
    day = SymbolDay(series, FEBRUARY, Status.COMPLETE, None, [kline(FEBRUARY_MS)], 1, "rest", 0.0)
    path = store(tmp_path / "market.db", [day])
    run_script(path, f"UPDATE kline_rows SET {assignment}")
    with StoreReader.open(path) as reader:
        assert canonical_day(reader, series, FEBRUARY) is None


def test_a_text_that_is_not_utf_8_is_noticed(tmp_path: Path) -> None:
    path = store(tmp_path / "market.db", [symbol_day(Dataset.FUNDING_RATES, "", A, DAYS[0])])
    run_script(path, "UPDATE funding_rows SET rate_type = CAST(x'ff' AS TEXT)")
    with StoreReader.open(path) as reader:
        assert canonical_day(reader, Series(Dataset.FUNDING_RATES, "", A), DAYS[0]) is None
