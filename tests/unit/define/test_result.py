"""What a define made: its counts, and the sentence for a universe in which nobody is ever active."""

from __future__ import annotations

from datetime import date

from cryptoservice.define.result import DefineResult
from cryptoservice.reasons import MissingReason
from cryptoservice.universe.model import DailySnapshot, Universe

DAY = date(2026, 2, 1)
UNLISTED = MissingReason.NOT_IN_CURRENT_TRADING_LIST


def result(snapshot: DailySnapshot, suggestions: dict[str, str]) -> DefineResult:
    names = (*snapshot.active_symbols, *snapshot.missing_symbols)
    universe = Universe(names, DAY, DAY, (snapshot,), "2026-03-05T00:00:00+00:00")
    return DefineResult("u.json", universe, {"klines": 1}, 0, 0.0, 1.5, suggestions)


def test_a_universe_without_any_active_day_says_what_was_meant() -> None:
    nobody = DailySnapshot(DAY, (), {"BTC": UNLISTED, "NOSUCHUSDT": UNLISTED})
    plain = result(nobody, {}).nothing_active
    assert plain is not None
    assert "2 not_in_current_trading_list" in plain
    assert result(nobody, {"BTC": "BTCUSDT"}).nothing_active == f"{plain}; did you mean BTCUSDT?"
    somebody = DailySnapshot(DAY, ("ETHUSDT",), {"BTC": UNLISTED})
    assert result(somebody, {"BTC": "BTCUSDT"}).nothing_active is None


def test_the_report_counts() -> None:
    report = result(DailySnapshot(DAY, ("ETHUSDT",), {"BTC": UNLISTED}), {"BTC": "BTCUSDT"}).to_dict()
    assert report == {
        "universe_file": "u.json", "schema_version": "2.0", "requested_symbols": 2, "daily_snapshots": 1, "active_symbol_days": 1,
        "start_date": "2026-02-01", "end_date": "2026-02-01", "requests": {"klines": 1}, "retries": 0, "waited_seconds": 0.0,
        "elapsed_seconds": 1.5, "suggestions": {"BTC": "BTCUSDT"},
    }  # fmt: skip
