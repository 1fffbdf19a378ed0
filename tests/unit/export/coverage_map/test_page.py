"""The page of the coverage map: its numbers are right, nothing foreign gets into it, and everybody can read it."""

from __future__ import annotations

import base64
import configparser
import fnmatch
import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.errors import OutputError
from cryptoservice.export.coverage_map import states
from cryptoservice.export.coverage_map.page import render, write_map
from tests.unit.export.coverage_reports import NAMES, STATES, WHOLE_DAY, Page, counts, made_up, reasons, state_of, unpacked

ROOT = Path(__file__).resolve().parents[4]
THREE = ("klines", "metrics", "funding_rates")
HOSTILE = ("</script><script>alert(1)</script>", "<!--", "A&amp;B", '"onload="x', "{{script}}", "שלום", "\u2028USDT", "𝔘USDT")


def days_of(report: dict[str, Any]) -> list[str]:
    return [day["date"] for day in report["days"]]


def numbers(row: list[str]) -> list[int]:
    """The six counts of a table row: active and the states."""
    return [int(cell.replace(",", "")) for cell in row[1:7]]


def data_of(page: str) -> dict[str, Any]:
    """What the page hands to its script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert found
    record = json.loads(found[1])
    assert isinstance(record, dict)
    return record


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_every_cell_says_what_the_report_says(seed: int) -> None:
    report = made_up(NAMES, 40, THREE, lacking=0.3, seed=seed)
    data = data_of(render(report, NAMES))
    assert data["symbols"] == list(NAMES)
    assert (data["start"], data["days"]) == ("2025-01-01", 40)
    assert [state["key"] for state in data["states"]] == list(STATES)
    assert [dataset["name"] for dataset in data["datasets"]] == list(THREE)
    for dataset in data["datasets"]:
        whole = WHOLE_DAY[dataset["name"]]
        for symbol, row in zip(NAMES, dataset["rows"], strict=True):
            cells = [dataset["kinds"][index] for index in unpacked(row)]
            assert len(cells) == 40
            for day, kind in zip(days_of(report), cells, strict=True):
                state = state_of(report, dataset["name"], symbol, day)
                assert STATES[kind[0]] == state
                entry = report["export_missing"].get(day, {}).get(symbol, {}).get(dataset["name"])
                if entry:
                    assert kind[1:] == [entry["expected"], entry["actual"], entry["reason"], entry.get("partial_bars", 0)]
                elif state == "complete" and dataset["name"] != "funding_rates":
                    assert kind[1:] == [whole, whole]
                else:
                    assert kind[1:] == []


@pytest.mark.parametrize("seed", [0, 1])
def test_the_tables_count_what_the_report_counts(seed: int) -> None:
    report = made_up(NAMES, 40, THREE, lacking=0.3, seed=seed)
    tables = dict(Page(render(report, NAMES)).tables)
    assert len(tables) == 6
    for name, label in zip(THREE, ("klines", "metrics", "funding rates"), strict=True):
        by_symbol, by_day = tables[f"Totals per symbol: {label}"], tables[f"Totals per day: {label}"]
        assert [row[0] for row in by_symbol] == ["Symbol", *NAMES, "all"]
        assert [row[0] for row in by_day] == ["Day (UTC)", *days_of(report), "all"]
        for row in by_symbol[1:-1]:
            assert numbers(row) == counts([state_of(report, name, row[0], day) for day in days_of(report)])
        for row in by_day[1:-1]:
            assert numbers(row) == counts([state_of(report, name, symbol, row[0]) for symbol in NAMES])
        totals = report["datasets"][name]
        for row in (by_symbol[-1], by_day[-1]):
            assert numbers(row)[:4] == [totals[key] for key in ("active_symbol_days", "complete", "partial", "missing")]
            if name != "funding_rates":
                assert [int(cell.replace(",", "")) for cell in row[7:9]] == [totals["exported_bars"], totals["expected_bars"]]
        assert [int(cell.replace(",", "")) for cell in by_symbol[-1][-4:]] == [sum(pair) for pair in reasons(report, name)]
        # Only the exchange knows how many funding rates a day has, so their tables promise no share of rows.
        assert len(by_symbol[0]) == (11 if name == "funding_rates" else 14)


def test_the_tables_name_every_state_that_occurs() -> None:
    report = made_up(["AUSDT"], 4, lacking=0)
    days = days_of(report)
    report["define_missing"] = {days[0]: {"AUSDT": "below_rank"}, days[2]: {"AUSDT": "below_rank"}}
    by_symbol = dict(Page(render(report, ["AUSDT"])).tables)["Totals per symbol: klines"]
    assert by_symbol[0][1:6] == ["active", "complete", "partial", "missing", "below rank"]
    assert by_symbol[1][1:6] == ["2", "2", "0", "0", "2"]


def test_rows_by_day_are_the_report_s_own() -> None:
    report = made_up(NAMES, 40, lacking=0.4, seed=3)
    by_day = dict(Page(render(report, NAMES)).tables)["Totals per day: klines"][1:-1]
    for row, day in zip(by_day, report["days"], strict=True):
        assert [int(cell.replace(",", "")) for cell in row[7:9]] == [day["exported_bars"], day["expected_bars"]]


def test_the_script_is_told_every_state_and_reason() -> None:
    data = data_of(render(made_up(NAMES, 3), NAMES))
    assert [(reason["key"], reason["label"], reason["mark"]) for reason in data["reasons"]] == [
        (reason.key, reason.label, reason.mark) for reason in states.REASONS
    ]
    assert [state["shape"] for state in data["states"]] == [list(state.shape) for state in states.STATES]


# -- one file, and nothing from elsewhere --------------------------------------------------------------------------------


def test_the_same_report_gives_the_same_bytes_but_for_the_time() -> None:
    report = made_up(NAMES, 40, THREE, seed=1)
    page = render(report, NAMES)
    assert render(report, NAMES) == page
    later = "2027-04-05T06:07:08+00:00"
    assert render({**report, "generated_at": later}, NAMES) == page.replace(report["generated_at"], later)


def test_only_its_own_script_and_style_may_run_and_nothing_is_fetched() -> None:
    text = render(made_up(NAMES, 10, THREE), NAMES)
    page = Page(text)
    (policy,) = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digests = {
        tag: "'sha256-" + base64.b64encode(hashlib.sha256(found.encode()).digest()).decode() + "'"
        for tag, found in (("style", page.texts["style"][0]), ("script", page.texts["script"][1]))
    }
    assert rules == {
        "default-src": "'none'", "style-src": digests["style"], "script-src": digests["script"], "img-src": "data:",
        "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    assert not re.findall(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|import\(|innerHTML|eval\(", text.replace(policy, ""))
    assert {tag["href"] for tag in page.named("link")} == {"data:,"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name in ("src", "srcset", "style", "action") or name.startswith("on")]
        assert attributes.get("href", "data:,") == "data:,"


def test_nothing_can_break_out_of_its_place() -> None:
    report = made_up(HOSTILE, 5, THREE, lacking=0.5, file="/x/</title><script>alert(2)</script>&.json")
    report["universe"]["sha256"] = '"><b>'
    calm = Page(render(made_up(["X"] * len(HOSTILE), 5, THREE, lacking=0.5), ["X"] * len(HOSTILE)))
    text = render(report, HOSTILE)
    page = Page(text)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in calm.tags]
    assert data_of(text)["symbols"] == list(HOSTILE)
    assert "<" not in page.texts["script"][0]
    for caption, rows in page.tables:
        if "symbol" in caption:
            assert [row[0] for row in rows[1:-1]] == list(HOSTILE)


# -- for everybody -----------------------------------------------------------------------------------------------------


def test_headings_tables_and_controls_say_what_they_are() -> None:
    page = Page(render(made_up(NAMES, 40, THREE), NAMES))
    assert page.named("html")[0]["lang"] == "en"
    assert page.texts["title"] == ["Coverage 5m · 2025-01-01 to 2025-02-09"]
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, ids[0]) in ids
    assert all(caption for caption, _ in page.tables)
    assert {th.get("scope") for th in page.named("th")} == {"row", "col"}
    assert [tag["value"] for tag in page.named("input") if tag.get("type") == "radio"] == list(THREE)
    assert {attributes.get("role") for _, attributes in page.tags} >= {"grid", "group", "region"}


def test_one_dataset_needs_no_choice() -> None:
    assert "fieldset" not in Page(render(made_up(NAMES, 3), NAMES)).texts


def test_long_tables_start_folded() -> None:
    page = Page(render(made_up([f"S{index}USDT" for index in range(50)], 28), [f"S{index}USDT" for index in range(50)]))
    assert ["open" in attributes for attributes in page.named("details")] == [False, True]


# -- size and writing --------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.slow
def test_a_year_of_five_hundred_symbols_stays_small() -> None:
    symbols = [f"SYMBOL{index:03}USDT" for index in range(500)]
    assert len(render(made_up(symbols, 365, lacking=0.02), symbols).encode()) < 500_000
    # Every third symbol-day of three datasets lacks something different.
    assert len(render(made_up(symbols, 365, THREE, lacking=0.33), symbols).encode()) < 2_000_000


def test_it_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = made_up(NAMES, 3)
    target = tmp_path / "coverage.html"
    write_map(target, report, NAMES)
    assert target.read_text(encoding="utf-8") == render(report, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["coverage.html"]
    before = target.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="no space left"):
        write_map(target, {**report, "generated_at": "later"}, NAMES)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["coverage.html"]


def test_its_parts_are_packaged() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    patterns = re.split(r"[,\s]+", config["options.package_data"]["cryptoservice.export.coverage_map"].strip())
    folder = ROOT / "cryptoservice/export/coverage_map"
    parts = [path.name for path in folder.iterdir() if path.suffix not in (".py", "") and path.is_file()]
    assert sorted(parts) == ["content.js", "controls.js", "coverage_map.css", "coverage_map.html", "drawing.js"]
    assert all(any(fnmatch.fnmatch(part, pattern) for pattern in patterns) for part in parts)
