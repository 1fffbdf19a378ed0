"""The data package: which files an export wrote, with their digests, and what every column means (Frictionless Data Package 2.0).

Its bytes depend on the files alone, so two machines that hold the same data have the same package.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from cryptoservice import files
from cryptoservice.days import Window
from cryptoservice.errors import UsageError
from cryptoservice.export.daily_csv import WrittenFile
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset, Freq
from cryptoservice.universe.inputs import read_input

log = logging.getLogger(__name__)

_PROFILE = "https://datapackage.org/profiles/2.0/datapackage.json"
_DESCRIPTION = (
    "Each file holds one UTC day, sorted by symbol and then by time. An empty field means that the exchange gave no value. "
    "The frequency of the bars and the day stand in the names of the folders (freq=, date=). A metric of a coarser bar is the "
    "last known value in that bar. Listed are the files that this export wrote."
)
_DIALECT = {"delimiter": ",", "lineTerminator": "\n", "header": True}
_NAME_FORM = re.compile(r"datapackage_\d+[mhd]_(\d{4}-\d\d-\d\d)_(\d{4}-\d\d-\d\d)\.json")
# A package of ten years has some 25 MB. What is larger is none.
_MOST_BYTES = 32 * 1024 * 1024


class Column(NamedTuple):
    """What a column of the CSV files holds."""

    name: str
    type: str
    """A type of the Table Schema standard."""
    unit: str
    meaning: str
    is_required: bool = True
    """No field of the column is ever empty."""

    def to_dict(self) -> dict[str, Any]:
        """The field of a table schema. The standard has no key for units, and allows keys of one's own."""
        field: dict[str, Any] = {"name": self.name, "type": self.type, "unit": self.unit, "description": self.meaning}
        return {**field, "constraints": {"required": True}} if self.is_required else field


_MS, _PRICE, _BASE, _QUOTE = "ms since 1970-01-01T00:00:00Z", "quote asset per unit of base asset", "base asset", "quote asset"
_SYMBOL = Column("symbol", "string", "none", "Name of the contract, such as BTCUSDT")
COLUMNS: Mapping[Dataset, Sequence[Column]] = {
    Dataset.KLINES: (
        _SYMBOL,
        Column("open_time", "integer", _MS, "Start of the bar"),
        Column("open", "number", _PRICE, "First price of the bar"),
        Column("high", "number", _PRICE, "Highest price of the bar"),
        Column("low", "number", _PRICE, "Lowest price of the bar"),
        Column("close", "number", _PRICE, "Last price of the bar"),
        Column("volume", "number", _BASE, "Amount traded in the bar"),
        Column("quote_volume", "number", _QUOTE, "Amount traded in the bar, at the prices paid"),
        Column("trades", "integer", "trades", "Number of trades in the bar"),
        Column("taker_buy_volume", "number", _BASE, "The part of volume that takers bought"),
        Column("taker_buy_quote_volume", "number", _QUOTE, "The part of quote_volume that takers bought"),
    ),
    Dataset.METRICS: (
        _SYMBOL,
        Column("open_time", "integer", _MS, "Start of the bar that the row closes: its values are known when that bar ends"),
        Column("open_interest", "number", _BASE, "Open interest at the end of the bar", False),
        Column("open_interest_value", "number", _QUOTE, "Value of the open interest at the end of the bar", False),
        Column("top_trader_account_ratio", "number", "ratio", "Long accounts to short accounts, of the top traders", False),
        Column("top_trader_position_ratio", "number", "ratio", "Long positions to short positions, of the top traders", False),
        Column("global_account_ratio", "number", "ratio", "Long accounts to short accounts, of all traders", False),
        Column(
            "taker_volume_ratio", "number", "ratio", "Volume that takers bought to volume that takers sold, in the bar", False
        ),
    ),
    Dataset.FUNDING_RATES: (
        _SYMBOL,
        Column("funding_time", "integer", _MS, "Moment of the funding"),
        Column("funding_rate", "number", "ratio", "Part of a position's value that longs pay to shorts; below 0 shorts pay"),
        Column("mark_price", "number", _PRICE, "Mark price at that moment", False),
        Column("rate_type", "string", "none", "Kind of the rate as the exchange names it; Regular where it names none"),
    ),
}
"""The columns of the CSV files in their order."""
_PRIMARY_KEYS = {
    Dataset.KLINES: ("symbol", "open_time"),
    Dataset.METRICS: ("symbol", "open_time"),
    Dataset.FUNDING_RATES: ("symbol", "funding_time", "rate_type"),
}


def package_path(base: Path, freq: Freq, window: Window) -> Path:
    """Where the package of that window stands: beside the coverage report, under a like name."""
    return base / f"datapackage_{freq}_{window.start}_{window.end}.json"


def write_package(
    path: Path, freq: Freq, window: Window, specs: Sequence[ExportSpec], written: Mapping[str, WrittenFile]
) -> None:
    """Write the package of these files, which `written` has by their path, whole or not at all.

    The standard knows no package without a file: then there is none, and one from before is removed. Raises OutputError when it
    cannot be written or removed.
    """
    if not written:
        if files.remove(path):
            log.info("the data package of an earlier export is out of date and was removed: %s", path)
        return
    head = {
        "$schema": _PROFILE,
        "name": f"binance-usdt-perpetuals-{freq}-{window.start}-{window.end}",
        "title": f"Binance USDT-M perpetual futures, {freq}, {window.start} to {window.end}",
        "description": _DESCRIPTION,
    }
    lines = (json.dumps(resource) for resource in _resources(window, specs, written))
    with files.atomic_text(path, durable=False) as handle:
        # A file a line: so a package can be searched, and two of them compared, line by line.
        handle.write(json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "resources": [\n    ')
        for number, line in enumerate(lines):
            handle.write(",\n    " * (number > 0) + line)
        handle.write("\n  ]\n}\n")


def _resources(window: Window, specs: Sequence[ExportSpec], written: Mapping[str, WrittenFile]) -> Iterator[dict[str, Any]]:
    """The entries of the files, dataset by dataset and day by day."""
    for spec in specs:
        schema = {
            "fields": [column.to_dict() for column in COLUMNS[spec.dataset]],
            "primaryKey": _PRIMARY_KEYS[spec.dataset],
            "missingValues": [""],
        }
        for day in window.days():
            path = spec.name(day)
            if path in written:
                yield {
                    "name": _resource_name(spec, day),
                    "type": "table",
                    "path": path,
                    "format": "csv",
                    "mediatype": "text/csv",
                    "encoding": "utf-8",
                    "bytes": written[path].size,
                    "hash": _hash(written[path]),
                    "dialect": _DIALECT,
                    "schema": schema,
                }


def _resource_name(spec: ExportSpec, day: date) -> str:
    return "-".join(filter(None, (spec.dataset.value, spec.written_freq, day.isoformat())))


def _hash(file: WrittenFile) -> str:
    return f"sha256:{file.sha256}"


def outdated_packages(path: Path, window: Window, written: Mapping[str, WrittenFile], removed: set[str]) -> list[str]:
    """The names of other packages in the same folder whose digests the export of this window has made untrue.

    Only packages are read whose name says that they share days with the window. One that cannot be read is passed over with a
    warning.
    """
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError as error:
        log.debug("the folder %s cannot be listed: %s", path.parent, files.describe(error))
        return []
    outdated = []
    for name in names:
        if name != path.name and _shares_days(name, window):
            listed = _listed_files(path.with_name(name))
            changed = {name for name in listed.keys() & written.keys() if listed[name] != _hash(written[name])}
            if changed or listed.keys() & removed:
                outdated.append(name)
    return outdated


def _shares_days(name: str, window: Window) -> bool:
    match = _NAME_FORM.fullmatch(name)
    # Days of that form are in order as texts.
    return match is not None and match[1] <= window.end.isoformat() and window.start.isoformat() <= match[2]


def _listed_files(path: Path) -> dict[str, str]:
    """The hash of every file that a package lists, by the path of the file."""
    try:
        record = json.loads(read_input(path, "an older data package", _MOST_BYTES, missing="it has just gone"))
    except UsageError as error:
        log.warning("%s: it is passed over", error.message)
        return {}
    except (ValueError, RecursionError):
        log.warning("an older data package %s is not JSON: it is passed over", path)
        return {}
    resources = record.get("resources") if isinstance(record, dict) else None
    entries = [entry for entry in resources if isinstance(entry, dict)] if isinstance(resources, list) else []
    named = [(entry.get("path"), entry.get("hash")) for entry in entries]
    return {name: digest for name, digest in named if isinstance(name, str) and isinstance(digest, str)}
