"""The flags of the commands that make universes: define and symbols."""

from __future__ import annotations

from typing import Any

from cryptoservice.cli.flags import shared


def add_define(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "define",
        help="write universe.json: which symbol had data on which UTC day",
        description=shared.described(
            "define --symbols BTCUSDT,ETHUSDT --start-date 30d --end-date yesterday --output universe.json",
            "Ask the exchange for the daily klines of every symbol. Write down, for each UTC day, which symbols had\n"
            "market data, and why the others had none. One request covers 499 days of a symbol. The file is immutable.",
        ),
        epilog=shared.exit_codes(0, 1, 2, 4),
        **shared.FORM,
    )
    what = parser.add_argument_group("what to define")
    what.add_argument(
        "--symbols", metavar="A,@FILE,B",
        help="symbols, separated by commas; @FILE stands for the symbols in that file; all: every symbol of the listing",
    )  # fmt: skip
    shared.add_path(
        what, "--symbols-file",
        "symbols, separated by commas or white space, with # for comments; they come before those of --symbols; "
        "- is standard input",
        required=False,
    )  # fmt: skip
    shared.add_listing(what)
    what.add_argument("--start-date", required=True, metavar="DATE", help=f"first UTC day: {shared.DATES}")
    what.add_argument("--end-date", required=True, metavar="DATE", help=f"last UTC day: {shared.DATES}; it must be over")
    shared.add_path(what, "--output", "the universe file to write; its folders are created; - is standard output")
    what.add_argument("--force", action="store_true", help="replace an existing output")
    what.add_argument("--description", metavar="TEXT", help="a note to keep in the file")
    ranking = parser.add_argument_group("ranking", "Keep the most traded symbols of each day; the others are below_rank.")
    ranking.add_argument("--top", type=shared.count, metavar="N", help="keep N symbols, those with the highest quote volume")
    ranking.add_argument(
        "--lookback-days", type=shared.count, metavar="N",
        help="sum the quote volume of the N days before the rebalance day, never that day or later (default 30)",
    )  # fmt: skip
    ranking.add_argument(
        "--rebalance", choices=("day", "week", "month"),
        help="draw anew each day, ISO week or month (default day)",
    )  # fmt: skip
    rate = parser.add_argument_group("rate control")
    rate.add_argument(
        "--daily-check-workers", type=shared.count, default=5, metavar="N", help="requests at once (default %(default)s)"
    )
    rate.add_argument(
        "--daily-check-request-delay", type=shared.seconds, default=0.0, metavar="SECONDS",
        help="least time between two requests, over all workers (default %(default)s)",
    )  # fmt: skip
    rate.add_argument(
        "--daily-check-max-requests-per-minute", type=shared.count, default=1800, metavar="N",
        help="request weight per rolling minute; the exchange allows 2400 to one IP address (default %(default)s)",
    )  # fmt: skip
    shared.add_network(parser)
    shared.add_output(parser)


def add_symbols(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "symbols",
        help="list the symbols that exist, now or ever",
        description=shared.described(
            "symbols --listing archive",
            "List the USDT perpetuals of the exchange or of the archive. On a pipe, one name a line comes out, which\n"
            "define reads with --symbols-file -; on a terminal, a table with the first and the last day that the exchange names.",
        ),
        epilog=shared.exit_codes(0, 1, 2, 4),
        **shared.FORM,
    )
    shared.add_listing(parser.add_argument_group("what to list"))
    shared.add_network(parser)
    shared.add_output(parser)
