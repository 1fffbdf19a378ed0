"""How much disk a download needs. What a real database takes is compared in tests/unit/download/test_preview.py."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from cryptoservice.days import Window
from cryptoservice.download.forecast.disk import DiskSpace
from cryptoservice.download.forecast.workload import Workload
from cryptoservice.download.worklist import Worklist
from cryptoservice.models import Freq
from cryptoservice.sources.datasets import KlinesPlan
from tests.unit.fakes import FEBRUARY

DAYS = [FEBRUARY + timedelta(days=number) for number in range(28)]


def workload(symbols: int, freq: Freq = Freq.m1) -> Workload:
    plan = KlinesPlan(freq, FEBRUARY + timedelta(days=40))
    active = {f"S{number}USDT": DAYS for number in range(symbols)}
    return Workload.of(Worklist(None, [plan], active, Window(DAYS[0], DAYS[-1]), incremental=True))


def test_it_grows_with_the_rows(tmp_path: Path) -> None:
    one, hundred = (DiskSpace.of(workload(count), tmp_path / "market.db").needed for count in (1, 100))
    # 40,320 rows of some 94 bytes a symbol; the log is as long as the rows, but not longer than 17 MB.
    assert one == pytest.approx(2 * 40_320 * 94, rel=0.03)
    assert hundred == pytest.approx(100 * 40_320 * 94 + 17_000_000, rel=0.03)


def test_nothing_to_do_needs_nothing(tmp_path: Path) -> None:
    space = DiskSpace.of(workload(0), tmp_path / "market.db")
    assert space.needed == 0
    assert space.suffices


def test_free_is_what_the_first_folder_above_has_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    usage = shutil.disk_usage(tmp_path)._replace(free=123)

    def disk_usage(path: Path) -> object:
        asked.append(path)
        return usage

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    space = DiskSpace.of(workload(1), tmp_path / "new" / "folder" / "market.db")
    assert (asked, space.free, space.suffices) == ([tmp_path], 123, False)
