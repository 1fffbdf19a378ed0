"""A batch is committed when it is large enough, or old enough."""

from __future__ import annotations

from pathlib import Path

from cryptoservice.download.commit_batch import CommitBatch
from cryptoservice.models import Dataset, Row, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, MINUTE, FakeClock, kline


def symbol_day(symbol: str, count: int) -> SymbolDay:
    rows: list[Row] = [kline(FEBRUARY_MS + number * MINUTE) for number in range(count)]
    return SymbolDay(Series(Dataset.KLINES, "1m", symbol), FEBRUARY, Status.COMPLETE, None, rows, count, None, 0.0)


def test_when_a_batch_is_committed(tmp_path: Path) -> None:
    clock = FakeClock()
    with StoreWriter.open(tmp_path / "market.db") as store:
        batch = CommitBatch(store, clock)

        def committed() -> int:
            return len(store.select("SELECT 1 FROM ledger"))

        batch.add(symbol_day("AUSDT", 1))
        clock.advance(0.2)
        batch.add(symbol_day("BUSDT", 1))
        assert committed() == 0, "neither large nor old"
        clock.advance(0.06)
        batch.add(symbol_day("CUSDT", 1))
        assert committed() == 3, "a quarter of a second after its first"
        for number in range(34):
            batch.add(symbol_day(f"D{number}USDT", 1440))
        assert committed() == 3, "48,960 rows"
        batch.add(symbol_day("EUSDT", 1440))
        assert committed() == 38, "50,400 rows"
        batch.add(symbol_day("FUSDT", 0))
        batch.commit()
        batch.commit()
        assert committed() == 39
