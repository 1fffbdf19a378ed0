"""The states that a cell of the coverage map can have, the reasons why rows lack, and the words that the page has for them."""

from __future__ import annotations

from dataclasses import dataclass

from cryptoservice.models import Dataset, Status
from cryptoservice.reasons import NOT_DOWNLOADED, MissingReason


@dataclass(frozen=True)
class State:
    """One state of a cell. Its colour stands in the style sheet."""

    key: str
    label: str
    meaning: str
    shape: tuple[float, float, float, float]
    """A box in a unit square, y downwards: x, y, width, height. Active symbol-days fill their cell, others are a line in it."""


COMPLETE, PARTIAL, MISSING = 0, 1, 2
STATES = (
    State("complete", "complete", "all expected rows are there", (0, 0, 1, 1)),
    State("partial", "partial", "some rows are there, some are not", (0, 0, 1, 1)),
    State("missing", "missing", "active that day, but no row", (0, 0, 1, 1)),
    State(MissingReason.NO_KLINE_ON_DATE.value, "no kline that day", "listed, but it had no kline that day", (0, 0.4, 1, 0.2)),
    State(
        MissingReason.NOT_IN_CURRENT_TRADING_LIST.value,
        "not in trading list",
        "the exchange does not list it as trading now",
        (0.2, 0.8, 0.6, 0.2),
    ),
    # What only universes by the archive's listing or by rank have. The listings' own words never meet in one universe.
    State(
        MissingReason.NO_TRADES_ON_DATE.value,
        "no trades that day",
        "it had a kline that day, but not one trade",
        (0, 0.15, 1, 0.2),
    ),
    State(MissingReason.NOT_IN_ARCHIVE.value, "not in archive", "the archive's listing does not hold it", (0.2, 0.8, 0.6, 0.2)),
    State(MissingReason.BELOW_RANK.value, "below rank", "other symbols had more volume before that day", (0, 0.65, 1, 0.2)),
)
ORDINARY = 5
"""So many of the first states are those of an ordinary universe, by the exchange's list and without a rank."""
STATE_OF_REASON = {reason.value: [state.key for state in STATES].index(reason.value) for reason in MissingReason}


@dataclass(frozen=True)
class Reason:
    """Why rows of an active symbol-day lack."""

    key: str
    label: str
    meaning: str
    mark: str
    """What a cell carries on its colour where there is room for it: an SVG path in a square of 20 by 20, which is stroked."""


STRIPES = "M-5 10L10 -5M-5 20L20 -5M-5 30L30 -5M5 30L30 5M15 30L30 15"
"""The mark that covers a cell of any size; the other marks stand in its middle."""
REASONS = (
    Reason(NOT_DOWNLOADED, "not downloaded", "no download has asked for it", ""),
    Reason(Status.FAILED.value, "failed", "the download failed: the next one asks again", "M5 5L15 15M15 5L5 15"),
    Reason(
        Status.INCOMPLETE.value,
        "incomplete",
        "fetched, not confirmed: the next download asks again",
        "M10 5.5a4.5 4.5 0 1 0 0.01 0Z",
    ),
    Reason(Status.CONFIRMED_GAP.value, "confirmed gap", "no source has more", STRIPES),
)
REASON_INDEX = {reason.key: index for index, reason in enumerate(REASONS)}
DATASET_NAMES = {Dataset.KLINES: "klines", Dataset.METRICS: "metrics", Dataset.FUNDING_RATES: "funding rates"}
