"""A number of the wire: JSON and CSV fields to Python numbers, with what is no plain finite number refused.

Every refusal is InvalidData, whose reason goes into reports: `not_a_number`, `not_finite` or `number_out_of_range`.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from cryptoservice.binance.parsers.rows_by_day import InvalidData

LARGEST = 1e18
"""No price, amount or count of market data is larger, and SQLite integers end at 2**63."""
_NUMBERS = frozenset((int, float))
_NUMBERS_AND_BLANKS = frozenset((int, float, type(None)))


def parse_json(text: str | bytes) -> Any:
    """Any JSON text. InvalidData for what is none; also for NaN and Infinity, which Python would let pass."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidData("not_a_number") from None


def parse_fields(text: str, *, blanks: bool = False) -> list[Any]:
    """The numbers of comma-separated fields; with `blanks` an empty field is None.

    One JSON array for all fields is several times quicker than float() for each, and lets only plainly written numbers pass.
    """
    if blanks and (",," in text or text.startswith(",") or text.endswith(",") or not text):
        text = ",".join(field or "null" for field in text.split(","))
    numbers: list[Any] = parse_json(f"[{text}]")
    if not set(map(type, numbers)) <= (_NUMBERS_AND_BLANKS if blanks else _NUMBERS):
        raise InvalidData("not_a_number")
    return numbers


def parse_number(value: object) -> Any:
    """One number: a JSON number as it is, or text that is one."""
    if isinstance(value, str):
        value = parse_json(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidData("not_a_number")
    return value


def is_blank(value: object) -> bool:
    """True where the exchange left a value out: null, or an empty text."""
    return value is None or value == ""


def parse_timestamp(value: object) -> int:
    """A whole number, written as such or as text: `timestamp` was text until mid-2026 (docs/wire.md, market metrics)."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = parse_json(value.lstrip("0") or "0")
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidData("not_a_number")
    return value


def check_range(values: list[Any], least: float = 0.0, most: float = LARGEST) -> None:
    """InvalidData when one of the numbers lies outside; blanks are passed over."""
    present = [value for value in values if value is not None]
    if present and not least <= min(present) <= max(present) <= most:
        raise InvalidData("number_out_of_range")


def _refuse_constant(_: str) -> NoReturn:
    raise InvalidData("not_finite")
