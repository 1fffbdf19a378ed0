"""The states that a cell of the coverage map can have, and the words that the page has for them."""

from __future__ import annotations

from dataclasses import dataclass

from cryptoservice.models import Dataset, Status
from cryptoservice.reasons import NOT_DOWNLOADED, MissingReason


@dataclass(frozen=True)
class State:
    """One state of a cell. Its colour stands in the style sheet; its shape tells it apart without colour."""

    key: str
    label: str
    meaning: str
    shape: tuple[tuple[float, float, float, float, float], ...]
    """Boxes in a unit square, y downwards: x, y, width, height, opacity. One pixel of width is enough to tell them apart."""


COMPLETE, PARTIAL, MISSING = 0, 1, 2
STATES = (
    State("complete", "complete", "all expected rows are there", ((0, 0, 1, 1, 1),)),
    State("partial", "partial", "some rows are there, some are not", ((0, 0, 1, 0.5, 0.25), (0, 0.5, 1, 0.5, 1))),
    State("missing", "missing", "active that day, but no row", ((0, 0, 1, 0.3, 1), (0, 0.3, 1, 0.4, 0.16), (0, 0.7, 1, 0.3, 1))),
    State(
        MissingReason.NO_KLINE_ON_DATE.value, "no kline that day", "listed, but it had no kline that day", ((0, 0.4, 1, 0.2, 1),)
    ),
    State(
        MissingReason.NOT_IN_CURRENT_TRADING_LIST.value,
        "not in trading list",
        "the exchange does not list it as trading now",
        ((0.2, 0.8, 0.6, 0.2, 1),),
    ),
)
# The archive's listing has words of its own for much the same states.
_LIKE = {
    MissingReason.NO_TRADES_ON_DATE: MissingReason.NO_KLINE_ON_DATE,
    MissingReason.NOT_IN_ARCHIVE: MissingReason.NOT_IN_CURRENT_TRADING_LIST,
    MissingReason.BELOW_RANK: MissingReason.NOT_IN_CURRENT_TRADING_LIST,
}
STATE_OF_REASON = {
    reason.value: [state.key for state in STATES].index(_LIKE.get(reason, reason).value) for reason in MissingReason
}
REASON_TEXTS = {
    NOT_DOWNLOADED: "no download has asked for it",
    Status.CONFIRMED_GAP.value: "no source has more",
    Status.INCOMPLETE.value: "fetched, not confirmed: the next download asks again",
    Status.FAILED.value: "the download failed: the next one asks again",
}
DATASET_NAMES = {Dataset.KLINES: "klines", Dataset.METRICS: "metrics", Dataset.FUNDING_RATES: "funding rates"}
