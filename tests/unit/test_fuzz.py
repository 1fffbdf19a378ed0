"""Whatever comes in: only the documented errors, or what really was in it."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryptoservice.binance.archive_files import ArchiveFile, VerifiedZip, read_zip
from cryptoservice.binance.http.responses import Throttled, Transient, api_response_parser, archive_response_parser
from cryptoservice.binance.parsers import funding, klines, metrics
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import Window
from cryptoservice.errors import HistoryEnded, SourceError, SourceRefused, SymbolRefused, UsageError
from cryptoservice.export.resampling import resample_klines, resample_metrics
from cryptoservice.models import Dataset, Freq
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.model import Universe, UniverseError
from cryptoservice.universe.symbols import fault_of, normalise
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, MINUTE, FakeClock, recorded_csv

from ..e2e import hostile_strategies as odd

ONE_DAY = Window(FEBRUARY, FEBRUARY)
FIVE = 5 * MINUTE
SHORT, DEEPER = 100, 30

Test = Callable[..., None]
DEEP: list[Any] = []


def fuzzed(*strategies: Any, examples: int = SHORT) -> Callable[[Test], Test]:
    """Bounded here; the slow test at the end runs the same properties much longer."""

    def decorate(test: Test) -> Test:
        bounded, deep = (
            settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            for count in (examples, examples * DEEPER)
        )
        DEEP.append(pytest.param(deep(given(*strategies)(test)), id=test.__name__))
        return bounded(given(*strategies)(test))

    return decorate


# -- universe --------------------------------------------------------------------------------------------------


def read_or_refuse(text: str) -> Universe | None:
    """A universe that says the same when written and read again, or UniverseError."""
    try:
        universe = Universe.from_json(text)
    except UniverseError as error:
        assert error.exit_code == 2
        assert len(error.message) < 1000
        return None
    assert Universe.from_json(universe.to_json()) == universe
    assert not any(map(fault_of, universe.requested_symbols))
    return universe


@fuzzed(odd.universes(), examples=40)
def test_a_universe_is_read_as_it_was_saved(universe: Universe) -> None:
    text = universe.to_json()
    assert read_or_refuse(text) == universe
    assert Universe.from_json(text).to_json() == text
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "universe.json"
        universe.save(path, force=True)
        loaded = UniverseFile.load(path)
        assert (loaded.universe, loaded.sha256) == (universe, hashlib.sha256(path.read_bytes()).hexdigest())


@fuzzed(odd.universes(), odd.anything, st.integers(0))
def test_one_changed_place_is_refused_or_understood(universe: Universe, new: Any, at: int) -> None:
    record = json.loads(universe.to_json())
    found = odd.places(record)
    read_or_refuse(json.dumps(odd.changed(record, found[at % len(found)], new)))


@fuzzed(odd.universes(), st.lists(st.tuples(st.integers(0), st.binary(max_size=3)), min_size=1, max_size=5))
def test_changed_bytes_are_refused_or_understood(universe: Universe, cuts: list[tuple[int, bytes]]) -> None:
    content = bytearray(universe.to_json().encode())
    for at, piece in cuts:
        at %= len(content)
        content[at : at + 1 + len(piece) // 2] = piece
        content = content or bytearray(b" ")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    read_or_refuse(text)


@fuzzed(
    st.one_of(
        odd.anything.map(json.dumps), odd.texts, st.binary(max_size=40).map(lambda content: content.decode("utf-8", "replace"))
    )
)
def test_any_text_is_refused_as_a_universe(text: str) -> None:
    assert read_or_refuse(text) is None


@pytest.mark.parametrize("depth", [*range(800, 1000, 3), 5_000, 100_000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_no_depth_is_too_deep(start: str, end: str, depth: int) -> None:
    value = start * depth + "1" + end * depth
    for text in (value, f'{{"schema_version": {value}}}', f'{{"schema_version": "2.0", "requested_symbols": [{value}]}}'):
        assert read_or_refuse(text) is None


@fuzzed(st.lists(st.one_of(odd.texts, odd.odd_texts, odd.safe_symbols), max_size=6))
def test_symbols_are_safe_or_refused(names: list[str]) -> None:
    try:
        made = normalise(names)
    except UsageError as error:
        assert error.exit_code == 2
        return
    assert normalise(made) == made
    for symbol in made:
        assert fault_of(symbol) is None
        assert not set(symbol) & set("/\\,;'\"\n\r\t \x00%?#&=+@<>|:*$`")
        assert ".." not in symbol
        assert symbol.encode()


# -- klines ----------------------------------------------------------------------------------------------------

KLINE_LINES = tuple(recorded_csv("LINKUSDT").split("\n")[:41])
KLINE_ROWS = [[*map(json.loads, line.split(","))] for line in KLINE_LINES[1:]]


def kline_table(read: Callable[[], RowsByDay]) -> None:
    """Sane rows or InvalidData."""
    try:
        table = read()
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()
        return
    assert set(table.days) <= {FEBRUARY}
    odd.assert_sane(table)


edits = st.lists(
    st.tuples(st.integers(0, 39), st.integers(0, 11), st.one_of(odd.scalars.map(str), st.just("1769904000"))),
    min_size=1,
    max_size=3,
)


@fuzzed(edits, st.booleans())
def test_changed_kline_files_are_sane_or_refused(edits: list[tuple[int, int, str]], header: bool) -> None:
    lines = [line.split(",") for line in KLINE_LINES[1:]]
    for row, column, text in edits:
        lines[row][column] = text
    text = "\n".join([*(KLINE_LINES[:1] if header else ()), *map(",".join, lines)])
    kline_table(lambda: klines.parse_csv([text], Freq.m1, ONE_DAY))


@fuzzed(st.one_of(st.text(max_size=60), st.text('0123456789,.\n\r-e[]"{}:naN', max_size=80)))
def test_any_text_is_refused_as_klines_or_empty(text: str) -> None:
    kline_table(lambda: klines.parse_csv([text], Freq.m1, ONE_DAY))


@fuzzed(st.permutations(range(40)), st.lists(st.integers(0, 39), max_size=10))
def test_order_and_identical_doubles_change_nothing(order: list[int], doubled: list[int]) -> None:
    plain = klines.parse_csv(["\n".join(KLINE_LINES)], Freq.m1, ONE_DAY)
    shuffled = [KLINE_LINES[1 + number] for number in [*order, *doubled]]
    table = klines.parse_csv(["\n".join(shuffled)], Freq.m1, ONE_DAY)
    assert list(table.days[FEBRUARY]) == list(plain.days[FEBRUARY])
    assert not table.conflicting


@fuzzed(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 11), odd.anything), max_size=3), odd.anything, st.integers(0, 40))
def test_changed_kline_answers_are_sane_or_refused(edits: list[tuple[int, int, Any]], extra: Any, at: int) -> None:
    rows: list[Any] = [[value if column in (0, 6, 8) else str(value) for column, value in enumerate(row)] for row in KLINE_ROWS]
    for row, column, value in edits:
        rows[row][column] = value
    kline_table(lambda: klines.parse_rest(rows, Freq.m1, ONE_DAY))
    kline_table(lambda: klines.parse_rest([*rows[:at], extra, *rows[at:]], Freq.m1, ONE_DAY))
    kline_table(lambda: klines.parse_rest(extra, Freq.m1, ONE_DAY))


# -- zips ------------------------------------------------------------------------------------------------------


ZIPS = {kind: odd.zipped("\n".join(KLINE_LINES), kind) for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)}
DAILY = ArchiveFile.daily(Dataset.KLINES, "LINKUSDT", Freq.m1, FEBRUARY)


def opened(body: bytes) -> list[Any]:
    return list(read_zip(VerifiedZip(DAILY, body, "", None, 0.0)).days.get(FEBRUARY, ()))


# Most of a zip is content, whose crc protects it; the fields that steer the reading are at both ends.
@fuzzed(
    st.sampled_from(sorted(ZIPS)),
    st.lists(st.tuples(st.integers(-160, 100), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    st.integers(0, 3),
    examples=400,
)
def test_changed_zips_hold_the_same_rows_or_are_refused(kind: int, edits: list[tuple[int, bytes]], way: int) -> None:
    body = bytearray(ZIPS[kind])
    for at, piece in edits:
        at %= len(body)
        if way == 0:
            body[at : at + len(piece)] = piece
        elif way == 1:
            body[at:at] = piece
        elif way == 2:
            del body[at : at + len(piece)]
        else:
            body = body[:at] + body[at // 2 :]
    try:
        rows = opened(bytes(body))
    except InvalidData:
        return
    assert rows == opened(ZIPS[kind])


# -- metrics and funding rates ---------------------------------------------------------------------------------

label_texts = (
    st.integers(-3, 292).map(lambda bar: odd.metric_label(bar * 5))
    | st.integers(-3, 1500).map(lambda minute: odd.metric_label(minute))
    | odd.texts
)


@fuzzed(
    st.lists(st.integers(0, 288), unique=True, min_size=1, max_size=40),
    st.lists(st.integers(0, 288), max_size=5),
    st.sampled_from([FEBRUARY, metrics.SWITCH_DAY]),
)
def test_labels_become_bars_of_their_day_whatever_the_convention(bars: list[int], doubled: list[int], day: date) -> None:
    labels = [odd.metric_label(bar * 5).replace(str(FEBRUARY + timedelta(days=1)), str(day + timedelta(days=1))) for bar in bars]
    labels = [label.replace(str(FEBRUARY), str(day)) for label in labels]
    lines = [f"{label},X,{bar},1,1,1,1,1" for label, bar in zip(labels, bars, strict=True)]
    lines += [lines[number % len(lines)] for number in doubled]
    table = metrics.parse_csv("\n".join(lines), "X", day)
    rows = list(table.days.get(day, ()))
    assert set(table.days) <= {day}
    assert not table.conflicting
    shift = {5 * MINUTE} if 288 in bars and 0 not in bars else {0} if 0 in bars and 288 not in bars else {0, FIVE}
    start = FEBRUARY_MS + (day - FEBRUARY).days * DAY
    # The value of each row is the number of its label: every row stands where its own label says, and none is invented.
    assert {start + row[1] * FIVE - row[0] for row in rows} <= shift
    assert len({start + row[1] * FIVE - row[0] for row in rows}) <= 1
    assert len(rows) >= len(bars) - 1


@fuzzed(st.lists(st.lists(st.one_of(label_texts, st.just("X"), odd.scalars.map(str)), min_size=8, max_size=8), max_size=4))
def test_any_metrics_file_is_sane_or_refused(lines: list[list[str]]) -> None:
    try:
        table = metrics.parse_csv("\n".join(map(",".join, lines)), "X", FEBRUARY)
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()
        return
    for row in table.days.get(FEBRUARY, ()):
        assert all(value is None or 0 <= value <= 1e18 for value in row[1:])


METRICS_ENTRY = {
    "symbol": "X", "timestamp": FEBRUARY_MS + FIVE, "sumOpenInterest": "1", "sumOpenInterestValue": "2", "longShortRatio": "3",
    "buySellRatio": "4",
}  # fmt: skip


@fuzzed(
    st.sampled_from(list(metrics.RestSeries)),
    st.one_of(
        st.tuples(st.sampled_from(sorted(METRICS_ENTRY)), odd.scalars).map(lambda pair: [METRICS_ENTRY | dict([pair])]),
        odd.anything,
    ),
)
def test_any_metrics_answer_is_sane_or_refused(series: metrics.RestSeries, page: Any) -> None:
    try:
        found = metrics.parse_rest(series, page, "X", range(FEBRUARY_MS, FEBRUARY_MS + DAY, FIVE))
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()
        return
    table = metrics.join_rest([found], ONE_DAY)
    for row in table.days.get(FEBRUARY, ()):
        assert all(value is None or (isinstance(value, (int, float)) and 0 <= value <= 1e18) for value in row[1:])


FUNDING_ENTRY = {"symbol": "X", "fundingTime": FEBRUARY_MS, "fundingRate": "0.0001", "markPrice": "1", "rateType": "Regular"}


@fuzzed(
    st.one_of(
        st.tuples(st.sampled_from(sorted(FUNDING_ENTRY)), odd.scalars).map(lambda pair: [FUNDING_ENTRY | dict([pair])]),
        odd.anything,
    )
)
def test_any_funding_answer_is_sane_or_refused(page: Any) -> None:
    try:
        odd.assert_funding(funding.parse_rest(page, "X", ONE_DAY))
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()


@fuzzed(
    st.lists(
        st.lists(st.one_of(st.just(str(FEBRUARY_MS)), st.just("8"), odd.scalars.map(str)), min_size=2, max_size=4), max_size=4
    )
)
def test_any_funding_file_is_sane_or_refused(lines: list[list[str]]) -> None:
    try:
        odd.assert_funding(funding.parse_csv("\n".join(map(",".join, lines)), ONE_DAY))
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()


# -- answers ---------------------------------------------------------------------------------------------------


@fuzzed(
    st.one_of(st.sampled_from([200, 302, 400, 403, 404, 408, 418, 429, 451, 500, 503]), st.integers(100, 999)),
    st.dictionaries(st.sampled_from(["retry-after", "date", "x-mbx-used-weight-1m", "content-type"]), odd.header_texts),
    odd.bodies,
    examples=300,
)
def test_any_answer_is_one_of_the_documented_outcomes(status: int, headers: dict[str, str], body: bytes) -> None:
    answer = Answer(status, headers, body)
    assert answer.server_time is None or isinstance(answer.server_time, float)
    assert answer.used_weight >= -1
    for judge in (api_response_parser(FakeClock()), archive_response_parser(FakeClock())):
        try:
            judge(answer)
        except (SymbolRefused, HistoryEnded, SourceRefused, SourceError) as error:
            odd.assert_plain(error.reason, 60)
            odd.assert_plain(error.message, 400)
        except Transient as trouble:
            odd.assert_plain(trouble.reason, 60)
            odd.assert_plain(str(trouble), 400)
        except Throttled as throttled:
            assert throttled.until > 0


# -- resampling ------------------------------------------------------------------------------------------------

targets = {source: [freq for freq in Freq if freq.milliseconds % source.milliseconds == 0] for source in Freq}


@fuzzed(st.data(), st.sampled_from([Freq.m1, Freq.m5, Freq.m15, Freq.h1]))
def test_resampling_keeps_every_sum_and_invents_nothing(data: st.DataObject, source: Freq) -> None:
    target = data.draw(st.sampled_from(targets[source]))
    known = sorted(data.draw(st.sets(st.integers(0, source.bars_per_day - 1), max_size=40)))
    rows = []
    for bar in known:
        low, opened, close, high = data.draw(odd.prices)
        volume, quote, taker, taker_quote = (data.draw(odd.amounts) for _ in range(4))
        moment = FEBRUARY_MS + bar * source.milliseconds
        rows.append((moment, opened, high, low, close, volume, quote, data.draw(st.integers(0, 10**9)), taker, taker_quote))
    made = resample_klines(rows, source, target)
    starts = sorted({row[0] - row[0] % target.milliseconds for row in rows})
    assert [bar[0] for bar in made.rows] == starts
    parts = [[row for row in rows if start <= row[0] < start + target.milliseconds] for start in starts]
    width = target.milliseconds // source.milliseconds
    assert made.partial == sum(len(part) < width for part in parts)
    for bar, part in zip(made.rows, parts, strict=True):
        assert bar[1:5] == (part[0][1], max(row[2] for row in part), min(row[3] for row in part), part[-1][4])
        assert bar[7] == sum(row[7] for row in part)
        for column in (5, 6, 8, 9):
            exact = sum((Decimal(repr(row[column])) for row in part), Decimal(0))
            assert bar[column] == float(round(exact, 8))


@fuzzed(st.data())
def test_metrics_keep_the_last_known_value(data: st.DataObject) -> None:
    target = data.draw(st.sampled_from([freq for freq in Freq if freq.milliseconds > FIVE]))
    bars = sorted(data.draw(st.sets(st.integers(0, 287), max_size=40)))
    values = st.lists(st.none() | odd.amounts, min_size=6, max_size=6)
    rows = [(FEBRUARY_MS + bar * FIVE, *data.draw(values)) for bar in bars]
    made = resample_metrics(rows, target)
    assert [row[0] for row in made.rows] == sorted({row[0] - row[0] % target.milliseconds for row in rows})
    for bucket in made.rows:
        part = [row for row in rows if bucket[0] <= row[0] < bucket[0] + target.milliseconds]
        for column in range(1, 7):
            told = [row[column] for row in part if row[column] is not None]
            assert bucket[column] == (told[-1] if told else None)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("test", DEEP)
def test_deeper(test: Test) -> None:
    test()
