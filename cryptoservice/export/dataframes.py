"""Rows of a database as pandas DataFrames, straight from its tables. pandas is an extra: it is imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptoservice.days import Window, shorten
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.files import path_of
from cryptoservice.models import Dataset, Freq
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.schema import TABLES
from cryptoservice.universe.symbols import ALL, normalise

if TYPE_CHECKING:
    # Type checkers of users may or may not have pandas and its stubs.
    from pandas import DataFrame  # type: ignore[import-not-found,import-untyped,unused-ignore]

# So many rows are read at a time: enough to be quick, and little memory beside the DataFrame's own.
_ROWS_AT_ONCE = 50_000


def read_klines(
    db_path: str | Path,
    symbols: Iterable[str] | None = None,
    start: str | date | None = None,
    end: str | date | None = None,
    freq: Freq | str | None = None,
) -> DataFrame:
    """The klines of a database, sorted by symbol and time: one row a bar.

    The index is `open_time`, a DatetimeIndex in UTC. The columns are `symbol`, the prices in USDT, `volume` and
    `taker_buy_volume` in the base asset, `quote_volume` and `taker_buy_quote_volume` in USDT, and `trades`, a whole number. Both
    days are inclusive; None leaves that side open. Symbols that the database does not know give no rows. Without `freq` the only
    interval of the database is meant.

    All rows are of one state of the database, also while a download writes to it. Raises UsageError for bad input, for a database
    without such klines, for several intervals when none is chosen, and where pandas is missing; StoreError when the file cannot
    be read.
    """
    wanted = _Wanted.of(Dataset.KLINES, symbols, start, end)
    return wanted.read(path_of(db_path, "database"), None if freq is None else Freq.parse(freq))


def read_metrics(
    db_path: str | Path,
    symbols: Iterable[str] | None = None,
    start: str | date | None = None,
    end: str | date | None = None,
) -> DataFrame:
    """The metrics of a database, sorted by symbol and time: one row for each 5-minute bar that they close.

    The index is `open_time`, a DatetimeIndex in UTC: the start of that bar, so that metrics join 5m klines on equality. The
    columns are `symbol`, `open_interest` in the base asset, `open_interest_value` in USDT, and the four ratios; a value that the
    source has left blank is NaN. Arguments and errors are those of `read_klines`, but for `freq`.
    """
    return _Wanted.of(Dataset.METRICS, symbols, start, end).read(path_of(db_path, "database"))


def read_funding_rates(
    db_path: str | Path,
    symbols: Iterable[str] | None = None,
    start: str | date | None = None,
    end: str | date | None = None,
) -> DataFrame:
    """The funding rates of a database, sorted by symbol, time and rate type.

    The index is `funding_time`, a DatetimeIndex in UTC. The columns are `symbol`, `funding_rate`, `mark_price` in USDT, which is
    NaN where the source has none, and `rate_type`. Arguments and errors are those of `read_klines`, but for `freq`.
    """
    return _Wanted.of(Dataset.FUNDING_RATES, symbols, start, end).read(path_of(db_path, "database"))


@dataclass(frozen=True)
class _Wanted:
    """The rows that were asked for."""

    dataset: Dataset
    symbols: frozenset[str] | None
    """None means all that the database has."""
    window: Window

    @classmethod
    def of(cls, dataset: Dataset, symbols: Iterable[str] | None, start: str | date | None, end: str | date | None) -> _Wanted:
        """Check the arguments. UsageError when one cannot be used."""
        _pandas()
        return cls(dataset, _names(symbols), Window.between(start, end))

    def read(self, path: Path, freq: Freq | None = None) -> DataFrame:
        """The rows as a DataFrame."""
        with StoreReader.open(path) as store:
            stored_freq = self._stored_freq(store, freq)
            known = store.symbols(self.dataset, stored_freq)
            names = [symbol for symbol in known if self.symbols is None or symbol in self.symbols]
            return _frame(store, [Series(self.dataset, stored_freq, symbol) for symbol in names], self)

    def _stored_freq(self, store: StoreReader, freq: Freq | None) -> str:
        """The frequency under which the database has the rows. UsageError when it has none, or several and none is chosen."""
        known = store.frequencies(self.dataset)
        if not known:
            hint = Remedy.DOWNLOAD_FIRST if self.dataset is Dataset.KLINES else Remedy.DOWNLOAD_METRICS
            raise UsageError(f"database {store.path} holds no {self.dataset.value.replace('_', ' ')}", hint=hint)
        if self.dataset is not Dataset.KLINES:
            return known[0]
        if freq is None and len(known) > 1:
            raise UsageError(f"database {store.path} holds klines of several intervals", hint=f"choose one of: {' '.join(known)}")
        if freq is not None and freq.value not in known:
            raise UsageError(f"database {store.path} holds no {freq} klines", hint=f"it has: {' '.join(known)}")
        return known[0] if freq is None else freq.value


def _names(symbols: Iterable[str] | None) -> frozenset[str] | None:
    """The names as `define` reads them, None for all; but an empty list, such as a filter leaves, asks for no rows."""
    if symbols is None:
        return None
    if not isinstance(symbols, (str, Iterable)):
        raise UsageError(f"symbols is no list: {shorten(symbols)}", hint='pass a list, such as ["BTCUSDT"]')
    names = symbols if isinstance(symbols, str) else list(symbols)
    chosen = () if names == [] else normalise(names)
    return None if chosen == (ALL,) else frozenset(chosen)


def _frame(store: StoreReader, series: list[Series], wanted: _Wanted) -> DataFrame:
    """The rows of these series, one after the other, as a DataFrame."""
    pandas, numpy = _pandas()
    table = TABLES[wanted.dataset]
    numbers = [name for name in table.columns if name not in table.texts]
    counts = [store.count_rows(one, wanted.window) for one in series]
    # The tables hold the rows in key order, so that nothing is sorted here. Each value goes to its place without a copy.
    arrays = {name: numpy.empty(sum(counts), numpy.int64 if name in table.integers else numpy.float64) for name in numbers}
    texts: dict[str, list[str]] = {name: [] for name in table.texts}
    done = 0
    for one, count in zip(series, counts, strict=True):
        store.doubles(one, wanted.window, numbers, partial(_fill, arrays, slice(done, done + count)))
        for name in texts:
            texts[name] += store.texts(one, wanted.window, name)
        done += count
    for name in table.nullable:
        arrays[name][numpy.isinf(arrays[name])] = numpy.nan
    index = pandas.to_datetime(arrays.pop(table.time), unit="ms", utc=True).rename(table.time)
    symbols = numpy.repeat(numpy.array([one.symbol for one in series], dtype=object), counts)
    # The type is said, since that of no rows cannot be seen.
    columns = {name: pandas.Series(column, dtype="str").array for name, column in {"symbol": symbols, **texts}.items()}
    order = ["symbol", *table.columns[1:]]
    return pandas.DataFrame({name: columns.get(name, arrays.get(name)) for name in order}, index, copy=False)


def _fill(arrays: Mapping[str, Any], places: slice, doubles: Iterator[bytes]) -> None:
    """Put the values of rows into these places of the arrays, in whose order they come."""
    _, numpy = _pandas()
    for first in range(places.start, places.stop, _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE, places.stop)
        rows = numpy.frombuffer(b"".join(islice(doubles, last - first))).reshape(last - first, len(arrays))
        # A whole number of the schema is a time or a count, and a float holds it exactly.
        for column, array in enumerate(arrays.values()):
            array[first:last] = rows[:, column]


def _pandas() -> tuple[Any, Any]:
    """pandas, and the numpy that it comes with. UsageError when they cannot be imported."""
    try:
        import numpy  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
        import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(f"pandas cannot be imported ({error})", hint="pip install 'cryptoservice[pandas]'") from error
    return pandas, numpy
