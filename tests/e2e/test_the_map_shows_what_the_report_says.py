"""`universe export --coverage-html`, as a user runs it; and, in the slow suite, the page in a real Chromium.

The browser tests fail, rather than skip, where no Chromium is installed: `apt-get install chromium`, or $CHROMIUM.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.export.coverage_map.page import render
from tests.e2e import truth
from tests.e2e.browser import Browser
from tests.e2e.conftest import RECORDED, Workspace
from tests.e2e.steps import addresses, contents
from tests.exchange import Market, ReplayExchange
from tests.unit.export.coverage_reports import STATES, Page, counts, made_up, state_of

SYMBOLS = (*RECORDED, "LATEUSDT", "币安人生USDT", "NOSUCHUSDT")
STEM = "coverage_5m_2026-02-01_2026-02-28"
DAYS = truth.days(truth.FIRST, truth.LAST)
# What nobody has: two hours of a day, a whole day, one bar. And a symbol listed on 10 February.
HOLES = {
    "ALGOUSDT": [("2026-02-02T12:00", "2026-02-02T14:00"), ("2026-02-20", "2026-02-22")],
    "AVAXUSDT": [("2026-02-05T06:00", "2026-02-05T18:00"), ("2026-02-14", "2026-02-15")],
    "LINKUSDT": [("2026-02-14T23:55", "2026-02-15")],
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """February with holes, with metrics and funding rates, exported with its map."""
    market = Market.recorded()
    market.add_symbol("LATEUSDT", first_day=date(2026, 2, 10))
    market.add_symbol("币安人生USDT", first_day=date(2026, 2, 1))
    with ReplayExchange(market) as exchange:
        workspace = Workspace(tmp_path_factory.mktemp("map"), addresses(exchange))
        assert workspace.define(symbols=",".join(SYMBOLS)).code == 0
        # Only now: a day without a single bar would not be active at all.
        for symbol, holes in HOLES.items():
            for first, last in holes:
                market.drop_klines(symbol, truth.moment(first), truth.moment(last))
        assert workspace.download("--download-market-metrics").code == 0
    workspace.environment = dict.fromkeys(workspace.environment, "http://127.0.0.1:9")
    outcome = workspace.export("--coverage-html")
    assert outcome.code == 0, outcome
    assert outcome.report["coverage_html_path"] == f"exports/{STEM}.html"
    yield workspace


@pytest.fixture(scope="module")
def report(exported: Workspace) -> dict[str, Any]:
    record = json.loads((exported.folder / f"exports/{STEM}.json").read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def test_the_map_stands_beside_the_report_and_tells_the_same(exported: Workspace, report: dict[str, Any]) -> None:
    tables = dict(Page((exported.folder / f"exports/{STEM}.html").read_text(encoding="utf-8")).tables)
    assert len(tables) == 6
    by_symbol = {row[0]: row[1:] for row in tables["Totals per symbol: klines"]}
    # Counted by hand from the holes above, not from the report.
    assert by_symbol["ALGOUSDT"][:6] == ["28", "25", "1", "2", "0", "0"]
    assert by_symbol["AVAXUSDT"][:6] == ["28", "26", "1", "1", "0", "0"]
    assert by_symbol["LINKUSDT"][:6] == ["28", "27", "1", "0", "0", "0"]
    assert by_symbol["LATEUSDT"][:6] == ["19", "19", "0", "0", "9", "0"]
    assert by_symbol["币安人生USDT"][:6] == ["28", "28", "0", "0", "0", "0"]
    assert by_symbol["NOSUCHUSDT"][:6] == ["0", "0", "0", "0", "0", "28"]
    assert by_symbol["LINKUSDT"][6:] == ["8,063", "8,064", "99.9 %"]
    for row, day in zip(tables["Totals per day: klines"][1:-1], DAYS, strict=True):
        assert row[0] == day
        assert [int(cell) for cell in row[1:7]] == counts([state_of(report, "klines", symbol, day) for symbol in SYMBOLS])


def test_it_is_what_the_report_alone_decides(exported: Workspace, report: dict[str, Any]) -> None:
    page = (exported.folder / f"exports/{STEM}.html").read_text(encoding="utf-8")
    assert page == render(report, SYMBOLS)
    assert str(exported.folder) not in page


def test_without_the_flag_nothing_changes(exported: Workspace) -> None:
    outcome = exported.export(folder="plain")
    assert outcome.code == 0, outcome
    assert "coverage_html_path" not in outcome.report
    plain, mapped = contents(exported.folder / "plain"), contents(exported.folder / "exports")
    assert mapped.keys() - plain.keys() == {f"{STEM}.html"}
    for name, body in plain.items():
        if name != f"{STEM}.json":
            assert mapped[name] == body


def test_a_coarser_window_has_its_own_map(exported: Workspace) -> None:
    window = ("--start-date", "2026-02-10", "--end-date", "2026-02-14", "--no-metrics", "--coverage-html")
    outcome = exported.export(*window, target="1h", folder="window")
    assert outcome.report["coverage_html_path"] == "window/coverage_1h_2026-02-10_2026-02-14.html"
    page = Page((exported.folder / "window/coverage_1h_2026-02-10_2026-02-14.html").read_text(encoding="utf-8"))
    (by_symbol, by_day) = (table for _, table in page.tables)
    assert [row[0] for row in by_day[1:-1]] == DAYS[9:14]
    # The hour of LINKUSDT's missing bar is there, made from eleven: its day is complete.
    assert {row[0]: row[1:6] for row in by_symbol}["LINKUSDT"] == ["5", "5", "0", "0", "0"]
    assert by_symbol[-1][7:] == ["576", "600", "96.0 %"]


def test_metrics_alone_have_a_map(exported: Workspace) -> None:
    outcome = exported.export("--no-klines", "--coverage-html", folder="metrics")
    page = Page((exported.folder / outcome.report["coverage_html_path"]).read_text(encoding="utf-8"))
    assert [tag["value"] for tag in page.named("input") if tag.get("type") == "radio"] == ["metrics", "funding_rates"]


def test_a_map_that_cannot_be_written_is_an_error(exported: Workspace) -> None:
    (exported.folder / "blocked" / f"{STEM}.html").mkdir(parents=True)
    outcome = exported.export("--coverage-html", folder="blocked")
    assert outcome.code == 1
    assert outcome.stdout == ""
    assert f"{STEM}.html" in outcome.stderr


# -- in a real browser -------------------------------------------------------------------------------------------------

FOCUS = "document.querySelector('[role=gridcell][tabindex=\"0\"]').focus()"
FOCUSED = "document.activeElement.textContent"
TIP = "(tip => tip.hidden ? '' : [...tip.children].map(e => e.textContent).join('\\n'))(document.getElementById('tip'))"
PLACE = "(() => { const box = document.getElementById('canvas').getBoundingClientRect(); return [box.left, box.top]; })()"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def open_quietly(browser: Browser, path: Path) -> None:
    """Open a page from disk: it asks for nothing else, and the console stays silent."""
    browser.resize(1440, 1000)
    browser.prefer("light")
    browser.open(path.as_uri())
    assert [event["request"]["url"] for event in browser.of("Network.requestWillBeSent")] == [path.as_uri()]
    assert browser.of("Log.entryAdded") == []
    assert browser.of("Runtime.exceptionThrown") == []
    assert browser.of("Runtime.consoleAPICalled") == []


@pytest.fixture
def small(browser: Browser, exported: Workspace) -> Browser:
    open_quietly(browser, exported.folder / f"exports/{STEM}.html")
    return browser


def measures(browser: Browser) -> tuple[float, float, float, float, float]:
    """Where the first cell is in the window, and how wide and high a cell is, from the grid's own elements."""
    left, top = browser.run(PLACE)
    x, y, width, height = browser.run(
        "(() => { const s = document.querySelector('[role=gridcell][tabindex=\"0\"]').style;"
        " return [s.left, s.top, s.width, s.height].map(parseFloat); })()"
    )
    return left + x, top + y, width, height, left


@pytest.mark.slow
def test_the_keyboard_reaches_every_cell(small: Browser, report: dict[str, Any]) -> None:
    small.run(FOCUS)
    for row, symbol in enumerate(SYMBOLS):
        for day in DAYS:
            said = small.run(FOCUSED)
            state = state_of(report, "klines", symbol, day)
            entry = report["export_missing"].get(day, {}).get(symbol, {}).get("klines")
            assert said.startswith(f"{symbol} · {day} ")
            if state in STATES[3:]:
                assert state in said
            else:
                expected, actual = (entry["expected"], entry["actual"]) if entry else (288, 288)
                assert f", {state}: {actual} of {expected} rows (" in said
                assert not entry or entry["reason"] in said
            small.press("ArrowRight")
        assert small.run(FOCUSED).startswith(f"{symbol} · all days")
        small.press("Home")
        if row < len(SYMBOLS) - 1:
            small.press("ArrowDown")
    small.press("Home", control=True)
    for day in DAYS:
        said = small.run(FOCUSED)
        assert said.startswith(f"All symbols · {day} ")
        due = counts([state_of(report, "klines", symbol, day) for symbol in SYMBOLS])[1:]
        found = dict(re.findall(r", ([a-z ]+): (\d+)", said))
        assert sorted(map(int, found.values())) == sorted(count for count in due if count)
        small.press("ArrowRight")
    assert small.run(FOCUSED).startswith("All symbols, all days")


@pytest.mark.slow
def test_a_screen_reader_is_told_where_it_is(small: Browser) -> None:
    small.run(FOCUS)
    small.press("ArrowDown")
    small.press("ArrowRight")
    nodes = small.send("Accessibility.getFullAXTree")["nodes"]
    focused = [node for node in nodes if any(p["name"] == "focused" and p["value"]["value"] for p in node.get("properties", []))]
    cells = [node for node in focused if node["role"]["value"] == "gridcell"]
    assert [node["name"]["value"] for node in cells] == ["AVAXUSDT · 2026-02-02 Mon, complete: 288 of 288 rows (100 %)"]
    grids = [node for node in nodes if node.get("role", {}).get("value") == "grid"]
    assert [node["name"]["value"] for node in grids] == ["Symbols by days"]
    assert small.run("[...document.querySelectorAll('[role=gridcell]')].filter(e => e.tabIndex === 0).length") == 1
    where = "(e => [e.parentElement.ariaRowIndex, e.ariaColIndex, e.closest('[role=grid]').ariaRowCount])(document.activeElement)"
    assert small.run(where) == ["4", "3", "8"]


@pytest.mark.slow
def test_n_and_p_go_from_trouble_to_trouble(small: Browser) -> None:
    small.run(FOCUS)
    seen = []
    for _ in range(6):
        small.press("n")
        seen.append(small.run(FOCUSED).split(",")[0])
    assert [line[:21] for line in seen] == [
        "ALGOUSDT · 2026-02-02", "ALGOUSDT · 2026-02-20", "ALGOUSDT · 2026-02-21",
        "AVAXUSDT · 2026-02-05", "AVAXUSDT · 2026-02-14", "LINKUSDT · 2026-02-14",
    ]  # fmt: skip
    small.press("P")
    assert small.run(FOCUSED).startswith("AVAXUSDT · 2026-02-14 Sat, missing: 0 of 288 rows (0 %), confirmed_gap")
    assert small.run(TIP).splitlines()[0] == "AVAXUSDT · 2026-02-14 Sat"
    small.press("Escape")
    assert small.run(TIP) == ""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_cells_have_the_colours_of_the_legend(small: Browser, scheme: str) -> None:
    small.prefer(scheme)
    x, y, width, height, left = measures(small)
    top = small.run(PLACE)[1]

    def colour(symbol: str, day: str, down: float) -> list[int]:
        at = (x - left + (DAYS.index(day) + 0.45) * width, y - top + SYMBOLS.index(symbol) * height + down * (height - 2))
        pixel = f"[...document.getElementById('canvas').getContext('2d').getImageData({int(at[0])}, {int(at[1])}, 1, 1).data]"
        found = small.run(pixel)
        assert isinstance(found, list)
        return found[:3]

    def due(name: str) -> list[int]:
        text = small.run(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()")
        return [int(text[at : at + 2], 16) for at in (1, 3, 5)]

    assert colour("ALGOUSDT", "2026-02-01", 0.5) == due("s0")
    assert colour("AVAXUSDT", "2026-02-05", 0.9) == due("s1")
    assert colour("AVAXUSDT", "2026-02-05", 0.1) not in (due("s1"), due("s0"), due("panel"))
    assert colour("AVAXUSDT", "2026-02-14", 0.1) == colour("AVAXUSDT", "2026-02-14", 0.9) == due("s2")
    assert colour("AVAXUSDT", "2026-02-14", 0.5) != due("s2")
    assert colour("LATEUSDT", "2026-02-03", 0.5) == due("s3")
    assert colour("LATEUSDT", "2026-02-03", 0.9) == due("panel")
    assert colour("NOSUCHUSDT", "2026-02-03", 0.9) == due("s4")
    assert colour("NOSUCHUSDT", "2026-02-03", 0.5) == due("panel")
    # The two schemes really differ.
    assert (sum(due("panel")) > 600) == (scheme == "light")


@pytest.mark.slow
def test_the_pointer_is_told_counts_and_reasons(small: Browser) -> None:
    x, y, width, height, _ = measures(small)
    small.point(x + 1.5 * width, y + 0.5 * height)
    assert small.run(TIP).splitlines() == [
        "ALGOUSDT · 2026-02-02 Mon", "partial: 264 of 288 rows (91.7 %)", "confirmed_gap – no source has more",
    ]  # fmt: skip
    small.point(x + 2.5 * width, y + 3.5 * height)
    assert small.run(TIP).splitlines() == ["LATEUSDT · 2026-02-03 Tue", "no kline that day", "no_kline_on_date"]
    small.point(x - 20, y + 5.5 * height)
    assert small.run(TIP).splitlines() == ["NOSUCHUSDT · all days", "not in trading list: 28"]
    small.point(5, 5)
    assert small.run(TIP) == ""


@pytest.mark.slow
def test_datasets_sorting_and_finding(small: Browser, report: dict[str, Any]) -> None:
    def choose(element: str, change: str, event: str) -> None:
        small.run(f"(e => {{ {change}; e.dispatchEvent(new Event('{event}')); }})(document.getElementById('{element}'))")
        small.settle()

    def first() -> str:
        return str(small.run("document.querySelector('[role=gridcell][tabindex=\"0\"]').textContent")).split(" ")[0]

    assert small.run("[...document.querySelectorAll('.legend')].filter(e => e.checkVisibility()).length") == 1
    small.run("document.querySelector('input[value=metrics]').click()")
    small.settle()
    shown = small.run(
        "[...document.querySelectorAll('.dataset:not([hidden]) .headline .meaning')].map(e => e.textContent).join()"
    )
    assert f"of {report['datasets']['metrics']['expected_bars']:,} rows" in shown
    small.run("document.querySelector('input[value=klines]').click()")
    choose("sort", "e.value = 'coverage'", "change")
    assert first() == "ALGOUSDT"
    choose("sort", "e.value = 'name'", "change")
    choose("find", "e.value = '人生'", "input")
    assert first() == "币安人生USDT"
    assert small.run("document.getElementById('shown').value") == "1 of 6 symbols shown."
    choose("find", "e.value = ''", "input")
    choose("lacking", "e.checked = true", "change")
    assert small.run("document.getElementById('shown').value") == "3 of 6 symbols shown."
    choose("find", "e.value = 'nothing'", "input")
    assert small.run("document.querySelector('[role=gridcell][tabindex=\"0\"]').textContent").startswith("All symbols")
    assert small.of("Runtime.exceptionThrown") == []


@pytest.mark.slow
def test_without_scripts_the_tables_say_it_all(browser: Browser, exported: Workspace) -> None:
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.send("Page.navigate", url=(exported.folder / f"exports/{STEM}.html").as_uri())
        loaded = "document.readyState === 'complete' && document.querySelectorAll('table').length"
        while browser.run(loaded) != 6:
            pass
        assert browser.run("getComputedStyle(document.getElementById('map')).display") == "none"
        assert "switched off" in browser.run("document.querySelector('noscript').innerText")
        assert browser.run("[...document.querySelectorAll('table')].every(table => table.checkVisibility())")
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.slow
def test_a_year_of_five_hundred_symbols_is_quick(browser: Browser, tmp_path: Path) -> None:
    symbols = [f"SYMBOL{index:03}USDT" for index in range(500)]
    report = made_up(symbols, 365, ("klines", "metrics", "funding_rates"), lacking=0.1)
    path = tmp_path / "large.html"
    path.write_text(render(report, symbols), encoding="utf-8")
    painted, drawn = [], []
    for _ in range(3):
        open_quietly(browser, path)
        painted.append(browser.run("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        drawn.append(browser.run("performance.getEntriesByName('coverage-map-drawn')[0].startTime"))
    assert min(painted) < 1000, painted
    assert min(drawn) < 1000, drawn
    assert browser.run("document.querySelectorAll('[role=gridcell]').length") <= 9
    browser.run(FOCUS)
    browser.press("End", control=True)
    said = browser.run(FOCUSED)
    tally = counts([state_of(report, "klines", symbols[-1], day["date"]) for day in report["days"]])
    assert said.startswith("SYMBOL499USDT · all days")
    assert sum(int(count) for count in re.findall(r": (\d+)", said)) == sum(tally[1:])
    frames = browser.run(
        "(async () => { const box = document.getElementById('scroller'), frame = requestAnimationFrame, times = [];"
        " for (let i = 0; i < 20; i++) { const t = performance.now(); box.scrollTop = 300 * i;"
        " await new Promise(done => frame(() => frame(done))); times.push(performance.now() - t); }"
        " return times.sort((a, b) => a - b)[10]; })()"
    )
    assert frames < 150
