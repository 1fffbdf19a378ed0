"""Remedies in the words of the command line. The library names no flag and no command, so the words stand here."""

from __future__ import annotations

from cryptoservice.errors import CryptoserviceError, Interrupted, Remedy

_WORDS = {
    Remedy.REPLACE_FILE: "pass --force to replace it",
    Remedy.REPLACE_UNIVERSE: "a universe is immutable: choose another name, or pass --force",
    Remedy.DEFINE_FIRST: "make one with: cryptoservice universe define",
    Remedy.DOWNLOAD_FIRST: "fill it with: cryptoservice universe download",
    Remedy.DOWNLOAD_METRICS: "fetch them with: cryptoservice universe download --download-market-metrics",
    Remedy.LOCK_FIRST: "make one with: cryptoservice universe lock",
    Remedy.LOCK_WINDOW: "leave out --start-date and --end-date, or lock that window with: cryptoservice universe lock",
    Remedy.NAME_SYMBOLS: "use --symbols BTCUSDT,ETHUSDT or --symbols-file FILE",
    Remedy.NAME_A_FOLDER: "name a folder with --export-base-path",
    Remedy.NAME_A_SAMPLE: "say with --sample how many symbol-days to draw",
    Remedy.CHOOSE_INTERVAL: "say with --source-freq which one: {intervals}",
    Remedy.KEEP_SOMETHING: "leave out --no-klines or --no-metrics",
    Remedy.CHECK_API_KEY: "check BINANCE_API_KEY or --api-key",
    Remedy.OTHER_DATABASE: "choose another --db-path",
    Remedy.NEWER_DATABASE: "use the version of cryptoservice that wrote it, or choose another --db-path",
    Remedy.RESTORE_DATABASE: "restore it from a copy, or choose another --db-path and download again",
    Remedy.VERIFY_DATABASE: "something else has written to it: look with `cryptoservice universe verify`",
    Remedy.MORE_RETRIES: "run the same command again; if the error stays, look at the network or raise --max-retries",
    Remedy.CHECK_NETWORK: "check the network, then run the same command again; more --max-retries wait longer",
    Remedy.WAIT_FOR_BAN: "run again after {until}, or allow a longer wait with --max-ban-wait (now {longest:g} s)",
    Remedy.LIST_ARCHIVE: "the archive is not blocked: add --listing archive, or run from another location",
    Remedy.CHECK_LISTING_URL: "leave out --listing-base-url and BINANCE_LISTING_BASE_URL, or set them to the bucket's address",
    Remedy.USE_ARCHIVE: "the archive is not blocked: download with --kline-source vision, or run from another location",
}


_KEPT = {
    "define": "nothing was written",
    "export": "each file that was written is whole",
    "lock": "nothing was written",
}


def kept_by(error: Interrupted, command: str) -> str | None:
    """What an interrupted run of that command leaves behind; None for a command that only looks."""
    return error.kept or _KEPT.get(command)


def hint_of(error: CryptoserviceError) -> str | None:
    """What to tell a person at the command line to do about the error."""
    if error.remedy is None:
        return error.hint
    return _WORDS[error.remedy].format(**error.facts)
