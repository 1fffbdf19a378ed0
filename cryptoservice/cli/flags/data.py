"""The flags of the commands that bring data in and out: download and export."""

from __future__ import annotations

from typing import Any

from cryptoservice.cli.flags import shared


def add_download(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "download",
        help="fetch a universe's symbol-days into SQLite",
        description=shared.described(
            "download --universe-file universe.json --db-path market.db --interval 5m",
            "Fetch exactly the active symbol-days of a universe: first verified archive files, then the API for what\n"
            "the archive lacks. What the database holds already is not fetched again. An interrupted run is resumed by the next.",
        ),
        epilog=shared.ALL_EXIT_CODES,
        **shared.FORM,
    )
    what = parser.add_argument_group("what to download")
    shared.add_universe_file(what)
    shared.add_path(what, "--db-path", "the SQLite database; it is created with its folders when missing")
    what.add_argument(
        "--interval", default="1m", metavar=shared.FREQ, help=f"kline interval: {shared.INTERVALS} (default %(default)s)"
    )
    what.add_argument(
        "--download-market-metrics", action="store_true",
        help="also fetch open interest, long/short ratios and taker ratio (5m), and funding rates",
    )  # fmt: skip
    shared.add_window(what)
    what.add_argument(
        "--symbols",
        metavar="A,@FILE,B",
        help="only these symbols of the universe, separated by commas; @FILE stands for those in that file (default: all)",
    )
    what.add_argument(
        "--no-incremental",
        action="store_true",
        help="also fetch again what is complete; stored rows are not lost to a worse answer",
    )
    what.add_argument(
        "--retry-gaps", action="store_true",
        help="also ask again for confirmed gaps; those that rest on a bad archive file are asked for again after 30 days anyway",
    )  # fmt: skip
    what.add_argument(
        "--kline-source", choices=("auto", "vision", "api"), default="auto",
        help="where klines may come from: archive then API, the archive alone, the API alone (default %(default)s)",
    )  # fmt: skip
    what.add_argument(
        "--plan", action="store_true",
        help="show what would be fetched, how long that takes and how much disk it needs; fetch nothing",
    )  # fmt: skip
    what.add_argument(
        "--assume-latency", type=shared.seconds, default=0.1, metavar="SECONDS",
        help="how long a request takes, for --plan, which sends none; a download measures it (default %(default)s)",
    )  # fmt: skip
    rate = parser.add_argument_group("rate control")
    shared.add_api_workers(rate)
    shared.add_vision_workers(rate)
    rate.add_argument(
        "--api-request-delay", type=shared.seconds, default=0.0, metavar="SECONDS",
        help="least time between two API requests, over all workers (default %(default)s)",
    )  # fmt: skip
    rate.add_argument(
        "--vision-request-delay", type=shared.seconds, default=0.0, metavar="SECONDS",
        help="least time between two archive requests, over all workers (default %(default)s)",
    )  # fmt: skip
    shared.add_network(parser)
    shared.add_output(parser)


def add_export(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        help="write CSV files and the coverage report",
        description=shared.described(
            "export --universe-file universe.json --db-path market.db --export-base-path exports",
            "Write one CSV file for each UTC day in Hive-style folders, a JSON report of what is there and what is\n"
            "missing, and a data package with the digest of each file. The command reads the universe and the database only,\n"
            "and never touches the network. Missing data is no error: the report names it.",
        ),
        epilog=shared.exit_codes(0, 1, 2, c0="done; what is missing, and why, is in the report"),
        **shared.FORM,
    )
    what = parser.add_argument_group("what to export")
    shared.add_universe_file(what)
    shared.add_path(what, "--db-path", "the SQLite database that download wrote")
    shared.add_path(
        what, "--export-base-path", "folder for CSV files, report and package; it is created when missing", metavar=shared.FOLDER
    )
    what.add_argument(
        "--source-freq", metavar=shared.FREQ,
        help=f"interval of the klines to read: {shared.INTERVALS} (default: the only one that the database has)",
    )  # fmt: skip
    what.add_argument(
        "--export-freq", metavar=shared.FREQ, help="interval to write: a whole multiple of --source-freq (default: the same)"
    )
    shared.add_window(what)
    what.add_argument("--no-klines", action="store_true", help="leave out klines")
    what.add_argument("--no-metrics", action="store_true", help="leave out metrics and funding rates")
    what.add_argument(
        "--coverage-html", action="store_true", help="also write the report as one HTML page: a map of symbols by days"
    )
    what.add_argument(
        "--prune", action="store_true", help="remove files of days without rows in this database, which are kept otherwise"
    )
    shared.add_ignored_credentials(parser)
    shared.add_output(parser)
