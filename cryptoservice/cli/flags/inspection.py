"""The flags of the commands that look at what is there: status, verify, lock and audit."""

from __future__ import annotations

from typing import Any

from cryptoservice.cli.flags import shared


def add_status(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "status",
        help="show what is stored, what is missing, and what a download would do",
        description=shared.described(
            "status --universe-file universe.json --db-path market.db",
            "Show what the database holds of a universe: what is complete, what is not and why, and what the next\n"
            "download would ask for. With --symbol and --date, show where the values of one symbol-day come from. The command\n"
            "only reads, and never touches the network; a download may be running.",
        ),
        epilog=shared.exit_codes(0, 1, 2, c0="done, whatever is missing"),
        **shared.FORM,
    )
    what = parser.add_argument_group("what to look at")
    shared.add_universe_file(what)
    shared.add_path(what, "--db-path", "the SQLite database that download wrote; without one, the universe alone", required=False)
    shared.add_window(what)
    day = parser.add_argument_group("one symbol-day, instead: where its values come from")
    day.add_argument("--symbol", metavar="SYMBOL", help="one symbol of the universe; needs --date and --db-path")
    day.add_argument("--date", metavar="DATE", help=f"one UTC day of the universe: {shared.DATES}")
    shared.add_ignored_credentials(parser)
    shared.add_output(parser)


def add_verify(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify",
        help="check the rows of a database, compare a sample with the other source, repair what differs",
        description=shared.described(
            "verify --universe-file universe.json --db-path market.db --sample 20",
            "Count all rows of a universe against the ledger, and check that they make sense and agree with one\n"
            "another. With --sample, fetch some symbol-days again from the source that they did not come from, archive or\n"
            "API, and compare every field. Nothing is changed without --repair.",
        ),
        epilog=shared.exit_codes(
            0,
            1,
            2,
            3,
            4,
            5,
            c0="all is sound, or was repaired",
            c3="something differs and was not repaired, or is not as the lock says, or a sampled symbol-day could not be fetched",
        ),
        **shared.FORM,
    )
    what = parser.add_argument_group("what to verify")
    shared.add_universe_file(what)
    shared.add_path(what, "--db-path", "the SQLite database that download wrote; only --repair changes it")
    shared.add_window(what)
    shared.add_path(
        what, "--lock",
        "also compare the rows with this dataset lock, over its window, and name each symbol-month that is not the same; "
        "- is standard input",
        required=False,
    )  # fmt: skip
    sample = parser.add_argument_group("sample")
    sample.add_argument(
        "--sample", type=shared.count, default=0, metavar="N",
        help="complete kline symbol-days to fetch again (default: none, and the network is not touched)",
    )  # fmt: skip
    sample.add_argument(
        "--seed", type=shared.whole, metavar="S",
        help="draw the same symbol-days as before (default: a new seed, which the report names)",
    )  # fmt: skip
    repair = parser.add_argument_group("repair")
    repair.add_argument(
        "--repair", action="store_true",
        help="ask every source for the symbol-days that differ, store what the most trusted of them say, verify these days again",
    )  # fmt: skip
    rate = parser.add_argument_group("rate control, of --sample and --repair")
    shared.add_api_workers(rate)
    shared.add_vision_workers(rate)
    shared.add_network(parser)
    shared.add_output(parser)


def add_lock(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "lock",
        help="write down what a database holds, so that others can prove that they hold the same",
        description=shared.described(
            "lock --universe-file universe.json --db-path market.db --output lock.json",
            "Write a dataset lock: digests over the stored rows of a universe by dataset, symbol and month, one root\n"
            "over all of them, and the archive files that the rows came from. Equal data gives an equal root on every\n"
            "machine. The command only reads the database, and never touches the network; a download may be running.",
        ),
        epilog=shared.exit_codes(0, 1, 2, c0="done, whatever is missing"),
        **shared.FORM,
    )
    what = parser.add_argument_group("what to lock")
    shared.add_universe_file(what)
    shared.add_path(what, "--db-path", "the SQLite database that download wrote")
    shared.add_path(what, "--output", "the lock file to write; its folders are created; - is standard output")
    shared.add_window(what)
    what.add_argument("--force", action="store_true", help="replace an existing output")
    shared.add_ignored_credentials(parser)
    shared.add_output(parser)


def add_audit(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "audit",
        help="ask whether the archive has published anything anew that the database was built from",
        description=shared.described(
            "audit --universe-file universe.json --db-path market.db",
            "Compare every archive file that the symbol-days of a universe came from with what the archive holds now.\n"
            "The bucket is listed page by page; only a file that the listing does not prove unchanged costs a request of its\n"
            "own. Nothing is changed: the report names the downloads that would fetch the changed days again.",
        ),
        epilog=shared.exit_codes(
            0, 1, 2, 3, 4, c0="nothing was published anew", c3="some files were published anew: the report says how to fetch them"
        ),
        **shared.FORM,
    )
    what = parser.add_argument_group("what to audit")
    shared.add_universe_file(what)
    shared.add_path(what, "--db-path", "the SQLite database that download wrote; it is only read")
    shared.add_window(what)
    what.add_argument(
        "--sample", type=shared.whole, default=1000, metavar="N",
        help="of files that an earlier version noted without ETag, and that the listing cannot decide, compare at most N by a "
        "request each (default %(default)s)",
    )  # fmt: skip
    shared.add_vision_workers(parser.add_argument_group("rate control"), ", of which an audit makes 8 at most")
    shared.add_network(parser)
    shared.add_output(parser)
