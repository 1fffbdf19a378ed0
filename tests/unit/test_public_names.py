"""What `cryptoservice` itself offers: the names of the stub, loaded when they are used."""

from __future__ import annotations

import pickle
import pkgutil
import pydoc
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

import cryptoservice
from cryptoservice import (
    Credentials,
    DailySnapshot,
    Dataset,
    DefineResult,
    Endpoints,
    Freq,
    NetworkConfig,
    RateConfig,
    RetryConfig,
    Universe,
    UsageError,
    WindowBounds,
    WorkerConfig,
)
from cryptoservice.errors import Remedy, SourceRefused
from cryptoservice.models import MissingReason

NAMES = {
    "AuditResult", "Credentials", "CryptoserviceError", "DailySnapshot", "Dataset", "DefineResult", "DownloadResult",
    "Endpoints", "ExportResult", "Freq", "KlineSource", "Listing", "LockResult", "MarketDataService", "NetworkConfig",
    "PreviewResult", "ProgressEvent", "ProvenanceResult", "RateConfig", "Rebalance", "RetryConfig", "Selection",
    "StatusResult", "SymbolList", "Universe", "UniverseFile", "UsageError", "VerifyResult", "WindowBounds", "WorkerConfig",
    "audit_universe", "define_universe", "download_universe_data", "export_universe_data", "list_symbols", "lock_universe",
    "plan_download", "read_funding_rates", "read_klines", "read_metrics", "symbol_day_provenance", "universe_status",
    "verify_universe", "__version__",
}  # fmt: skip
FOLDER = Path(cryptoservice.__file__).parent
STUB = (FOLDER / "__init__.pyi").read_text(encoding="utf-8").splitlines()


def in_a_new_process(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True).stdout


def test_the_stub_is_written_as_it_is_read() -> None:
    lines = [line for line in STUB[1:] if line]
    found = [re.fullmatch(r"from (cryptoservice\.[a-z_.]+) import (\w+) as \2", line) for line in lines]
    assert all(found)
    assert sorted(match[2] for match in found if match) == sorted(NAMES)
    assert lines == sorted(lines)


def test_every_name_is_what_its_module_holds() -> None:
    for name in NAMES - {"__version__"}:
        value = getattr(cryptoservice, name)
        assert value.__name__ == name
        assert f"from {value.__module__} import {name} as {name}" in STUB, "help and pickle name the same module"
        assert value.__doc__, name
        assert getattr(cryptoservice, name) is value
    assert re.fullmatch(r"\d+\.\d+\.\d+", cryptoservice.__version__)


def test_the_usual_questions_are_answered() -> None:
    assert set(cryptoservice.__all__) == NAMES
    offered = dir(cryptoservice)
    assert {name for name in offered if not name.startswith("_")} == NAMES - {"__version__"}
    assert {"__doc__", "__file__", "__version__"} <= set(offered)
    starred: dict[str, object] = {}
    exec("from cryptoservice import *", starred)
    assert starred.keys() >= NAMES
    page = pydoc.plain(pydoc.render_doc(cryptoservice))
    assert "class MarketDataService" in page
    assert "define_universe(symbols: " in page
    for name in ("Nonsense", "__wrapped__", "_private"):
        with pytest.raises(AttributeError, match=f"module 'cryptoservice' has no attribute '{name}'"):
            getattr(cryptoservice, name)
    with pytest.raises(ImportError):
        exec("from cryptoservice import Nonsense", {})


def test_importing_costs_nothing_until_a_name_is_used() -> None:
    told = in_a_new_process(
        "import sys; before = set(sys.modules); import cryptoservice; print(*sorted(set(sys.modules) - before));"
        "cryptoservice.Freq; print(*sorted(m for m in sys.modules if m.startswith('cryptoservice')))"
    ).splitlines()
    loaded = set(told[0].split())
    assert {name for name in loaded if name.startswith("cryptoservice")} == {"cryptoservice", "cryptoservice._version"}
    assert not loaded & {"ast", "asyncio", "importlib.resources", "json", "logging", "requests", "sqlite3", "threading"}
    assert told[1].split() == [
        "cryptoservice", "cryptoservice._version", "cryptoservice.errors", "cryptoservice.models", "cryptoservice.reasons",
    ]  # fmt: skip


def test_no_package_hides_a_name_or_is_hidden_by_one() -> None:
    modules = {module.name for module in pkgutil.iter_modules([str(FOLDER)])}
    assert not modules & NAMES
    told = in_a_new_process(
        "import cryptoservice, types; cryptoservice.define_universe, cryptoservice.export_universe_data\n"
        "import cryptoservice.define, cryptoservice.export, cryptoservice.config, cryptoservice.models\n"
        "from cryptoservice import errors, universe\n"
        "for one in (cryptoservice.define, cryptoservice.export, cryptoservice.config, errors, universe):\n"
        "    assert isinstance(one, types.ModuleType)\n"
        "print(cryptoservice.define_universe.__module__, cryptoservice.config.RetryConfig is cryptoservice.RetryConfig)"
    )
    assert told.split() == ["cryptoservice.define.command", "True"]


def test_public_classes_and_values_can_be_pickled() -> None:
    day = date(2026, 2, 1)
    snapshot = DailySnapshot(day, ("LINKUSDT",), {"NOSUCHUSDT": MissingReason.NOT_IN_CURRENT_TRADING_LIST})
    universe = Universe(("LINKUSDT", "NOSUCHUSDT"), day, day, (snapshot,), "2026-03-05T00:00:00+00:00", "a note")
    for value in (
        *(getattr(cryptoservice, name) for name in NAMES),
        *Freq, *Dataset, RetryConfig(2), RateConfig(100), WorkerConfig(1, 2), Credentials("key", "secret"),
        Endpoints("http://a", "http://v"), WindowBounds("2026-02-01"), NetworkConfig(Endpoints("http://a", "http://v")),
        snapshot, universe, DefineResult("universe.json", universe, {"rest": 3}, 0, 0.0, 1.5, {}),
    ):  # fmt: skip
        assert pickle.loads(pickle.dumps(value)) == value
    for error in (
        UsageError("bad", hint="write it so"),
        SourceRefused("banned", reason="banned", hint=Remedy.WAIT_FOR_BAN, until="10:07", longest=300.0),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
