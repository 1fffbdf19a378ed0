"""`make demo`: the three real commands against the replay exchange, and a summary a person can check."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from replay import ROOT, client_environment, replay_exchange

FOLDER = ROOT / "demo-data"
# Three recorded symbols, one listed after February 2026, one SETTLING, and a name that nobody knows.
SYMBOLS = "ALGOUSDT,AVAXUSDT,LINKUSDT,GRAMUSDT,OMGUSDT,NOSUCHUSDT"
# Made up: it was settled on 12 February in the morning and removed from the exchange, and the archive still has it.
DELISTED = "OLDUSDT"


def main() -> int:
    """Run the demo; the exchange that it starts is stopped whatever happens."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with replay_exchange(FOLDER, "--add-symbol", f"{DELISTED}:2025-11-01:2026-02-12T09:removed") as addresses:
        urls = f"{addresses['api_url']} (API), {addresses['vision_url']} (archive) and {addresses['listing_url']} (its listing)"
        print(f"The replay exchange listens on {urls}.")
        return run_commands(addresses)


def run_commands(addresses: dict[str, str]) -> int:
    """define, download, export, each printed as it would be typed."""
    environment = client_environment(addresses, FOLDER)
    universe, database, exports = "demo-data/universe.json", "demo-data/market.db", "demo-data/exports"
    everyone, february = "demo-data/everyone.json", "--start-date 2026-02-01 --end-date 2026-02-28"
    reports: list[dict[str, Any]] = []
    for arguments in (
        f"define --symbols {SYMBOLS} {february} --output {universe}",
        f"download --universe-file {universe} --db-path {database} --interval 5m --download-market-metrics",
        f"export --universe-file {universe} --db-path {database} --export-base-path {exports} --source-freq 5m --export-freq 5m",
        f"define --symbols all --listing archive {february} --output {everyone}",
    ):
        print(f"\n$ cryptoservice universe {arguments}", flush=True)
        executable = Path(sys.executable).with_name("cryptoservice")
        done = subprocess.run(
            [str(executable), "universe", *shlex.split(arguments)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(done.stdout, end="", flush=True)
        if done.returncode != 0:
            print(f"demo: that command ended with exit code {done.returncode}", file=sys.stderr)
            return done.returncode
        reports.append(json.loads(done.stdout))
    summarise(*reports)
    return 0


def summarise(define: dict[str, Any], download: dict[str, Any], export: dict[str, Any], listed: dict[str, Any]) -> None:
    """What came out, for people."""
    summary = export["summary"]
    snapshots = json.loads((ROOT / listed["universe_file"]).read_text(encoding="utf-8"))["daily_snapshots"]
    last = max(snapshot["date"] for snapshot in snapshots if DELISTED in snapshot["active_symbols"])
    rows = ", ".join(f"{count} {name}" for name, count in download["rows"].items() if count)
    asked = f"{define['requested_symbols']} symbols x {define['daily_snapshots']} days were asked for"
    print(
        f"""
In short
  active symbol-days  {define["active_symbol_days"]} ({asked})
  rows stored         {rows}
  coverage            {summary["coverage_ratio"]:.2%}: {summary["complete"]} complete, {summary["partial"]} partial, \
{summary["missing"]} missing
  why symbols miss    {export["report_path"]}
  second universe     {listed["requested_symbols"]} symbols of the archive, with {DELISTED}: delisted, active until {last}
  CSV files           {export["files"]} below {FOLDER.relative_to(ROOT) / "exports"}
  recorded data       klines and funding rates (tests/recordings/PROVENANCE.md)
  derived data        metrics: made up in the archive's format, so that they agree with the klines; all of {DELISTED}"""
    )


if __name__ == "__main__":
    sys.exit(main())
