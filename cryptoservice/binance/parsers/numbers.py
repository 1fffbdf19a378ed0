"""Numbers of the wire: JSON values and CSV fields to Python numbers. What is not written as a plain number is refused.

Every refusal is InvalidData, whose reason goes into reports: `not_a_number`, `not_finite` or `number_out_of_range`. A number too
large for a float, such as 1e999, is read as infinite, so a caller checks the range of what it uses.
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
    """The value of a JSON text. Raises InvalidData for other text, and for NaN and Infinity, which Python would accept."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidData("not_a_number") from None


def parse_fields(text: str, *, blanks: bool = False) -> list[Any]:
    """The numbers of comma-separated fields; with `blanks` an empty field is None.

    One JSON array of all fields is several times quicker than float() for each, and accepts only plainly written numbers.
    """
    if blanks and (",," in text or text.startswith(",") or text.endswith(",") or not text):
        text = ",".join(field or "null" for field in text.split(","))
    numbers: list[Any] = parse_json(f"[{text}]")
    if not set(map(type, numbers)) <= (_NUMBERS_AND_BLANKS if blanks else _NUMBERS):
        raise InvalidData("not_a_number")
    return numbers


def parse_number(value: object) -> Any:
    """One number, written as a JSON number or as text that holds one."""
    if isinstance(value, str):
        value = parse_json(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidData("not_a_number")
    return value


def is_blank(value: object) -> bool:
    """Whether the exchange left the value out: it wrote null or an empty text."""
    return value is None or value == ""


def parse_timestamp(value: object) -> int:
    """A whole number, written as such or as text: `timestamp` was text until mid-2026 (docs/wire.md, market metrics)."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = parse_json(value.lstrip("0") or "0")
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidData("not_a_number")
    return value


def check_range(values: list[Any], least: float = 0.0, most: float = LARGEST) -> None:
    """Raise InvalidData when one of the numbers is outside [least, most]; None passes."""
    present = [value for value in values if value is not None]
    if present and not least <= min(present) <= max(present) <= most:
        raise InvalidData("number_out_of_range")


def _refuse_constant(_: str) -> NoReturn:
    raise InvalidData("not_finite")
