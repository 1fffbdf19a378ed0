"""`make demo`: the three real commands against the replay exchange, and a summary a person can check."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from replay import DELISTED, DEMO_MARKET, ROOT, client_environment, replay_exchange

FOLDER = ROOT / "demo-data"
# Three recorded symbols, one listed after February 2026, one SETTLING, and a name that nobody knows.
SYMBOLS = "ALGOUSDT,AVAXUSDT,LINKUSDT,GRAMUSDT,OMGUSDT,NOSUCHUSDT"


def main() -> int:
    """Run the demo; the exchange that it starts is stopped whatever happens."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with replay_exchange(FOLDER, *DEMO_MARKET) as addresses:
        urls = f"{addresses['api_url']} (API), {addresses['vision_url']} (archive) and {addresses['listing_url']} (its listing)"
        print(f"The replay exchange listens on {urls}.")
        return run_commands(addresses)


def run_commands(addresses: dict[str, str]) -> int:
    """define, download, export, each printed as it would be typed."""
    environment = client_environment(addresses, FOLDER)
    universe, database, exports = "demo-data/universe.json", "demo-data/market.db", "demo-data/exports"
    everyone, february = "demo-data/everyone.json", "--start-date 2026-02-01 --end-date 2026-02-28"
    reports: list[dict[str, Any]] = []
    files = f"--universe-file {universe} --db-path {database}"
    for name, arguments in {
        "define": f"define --symbols {SYMBOLS} {february} --output {universe}",
        "download": f"download {files} --interval 5m --download-market-metrics",
        "export": f"export {files} --export-base-path {exports} --source-freq 5m --export-freq 5m --coverage-html",
        "everyone": f"define --symbols all --listing archive {february} --output {everyone}",
    }.items():
        line = f"{arguments} --report demo-data/reports/{name}.json"
        print(f"\n$ cryptoservice universe {line}", flush=True)
        executable = Path(sys.executable).with_name("cryptoservice")
        # It writes to this terminal itself, and says there what it says to everybody.
        done = subprocess.run([str(executable), "universe", *shlex.split(line)], cwd=ROOT, env=environment, check=False)
        if done.returncode != 0:
            print(f"demo: that command ended with exit code {done.returncode}", file=sys.stderr)
            return done.returncode
        reports.append(json.loads((FOLDER / "reports" / f"{name}.json").read_text(encoding="utf-8")))
    summarise(*reports)
    return 0


def summarise(define: dict[str, Any], download: dict[str, Any], export: dict[str, Any], listed: dict[str, Any]) -> None:
    """What came out, for people."""
    summary = export["summary"]
    snapshots = json.loads((ROOT / listed["universe_file"]).read_text(encoding="utf-8"))["daily_snapshots"]
    last = max(snapshot["date"] for snapshot in snapshots if DELISTED in snapshot["active_symbols"])
    rows = ", ".join(f"{count:,} {name}" for name, count in download["rows"].items() if count)
    first_file = min((FOLDER / "exports" / "klines").rglob("*.csv")).relative_to(ROOT)
    asked = f"{define['requested_symbols']} symbols x {define['daily_snapshots']} days were asked for"
    print(
        f"""
In short
  active symbol-days  {define["active_symbol_days"]} ({asked})
  rows stored         {rows}
  coverage            {summary["coverage_ratio"]:.2%}: {summary["complete"]} complete, {summary["partial"]} partial, \
{summary["missing"]} missing
  second universe     {listed["requested_symbols"]} symbols of the archive, with {DELISTED}: delisted, active until {last}
  CSV files           {export["files"]} below {FOLDER.relative_to(ROOT) / "exports"}
  recorded data       klines and funding rates (tests/recordings/PROVENANCE.md)
  made-up data        metrics, in the archive's format, so that they agree with the klines; and all of {DELISTED}

Look at
  {export["coverage_html_path"]} in a browser: what is there, what is missing, and why
  {first_file}

Try next
  source .venv/bin/activate && cryptoservice universe status --universe-file demo-data/universe.json --db-path demo-data/market.db
  make exchange, which keeps this exchange running, and the commands of README.md in a second terminal"""
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # The command that was running has said what is safe, and the exchange has ended with this process.
        sys.exit(130)
