"""Symbol names: which names are safe in a URL, a path, SQL and a CSV file, and how lists of names are read."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from cryptoservice.days import shorten
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.universe.inputs import input_name, read_input

MAX_LENGTH = 64
ALL = "ALL"
"""In the place of names: every symbol of the listing."""
_MAX_FILE_BYTES = 4 * 1024 * 1024
_WHAT = "symbols file"
# These are letters, marks, digits and pictographs of any script, since the exchange lists names such as 币安人生USDT.
_SAFE_CATEGORIES = ("L", "M", "N", "So")
_SAFE_PUNCTUATION = frozenset("_-.")


def fault_of(symbol: object) -> str | None:
    """The reason why `symbol` cannot be used as a symbol name, or None when it is safe."""
    if not isinstance(symbol, str) or not symbol:
        return "is not a symbol name"
    if len(symbol) > MAX_LENGTH:
        return f"is longer than {MAX_LENGTH} characters"
    if symbol.isascii() and symbol.isalnum():
        return None if symbol == symbol.upper() else "is not upper case"
    if symbol[0] in "=+-@":
        return f"starts with {symbol[0]!r}, which spreadsheets run as a formula"
    if ".." in symbol or symbol[0] == ".":
        return "could leave its folder"
    for char in symbol:
        if char in _SAFE_PUNCTUATION:
            continue
        if not unicodedata.category(char).startswith(_SAFE_CATEGORIES):
            return f"holds {char!r}, which no symbol name has"
    return None if symbol == symbol.upper() else "is not upper case"


def normalise(names: Iterable[str]) -> tuple[str, ...]:
    """The names without white space around them, in upper case, each one once, in the order of first appearance.

    The word "all", alone, stands for every symbol. Raises UsageError when a name cannot be used, when there is no name at all,
    and when "all" stands among names.
    """
    if isinstance(names, str) and names.strip().upper() == ALL:
        return (ALL,)
    if isinstance(names, str):
        # Each of its letters would be taken for a name.
        raise UsageError(f"symbols is one string: {shorten(names)}", hint='pass a list, such as ["BTCUSDT"]')
    if not isinstance(names, Iterable):
        raise UsageError(f"symbols is no list: {shorten(names)}", hint='pass a list, such as ["BTCUSDT"]')
    seen: dict[str, None] = {}
    for name in names:
        symbol = name.strip().upper() if isinstance(name, str) else name
        if symbol == "":
            continue
        fault = fault_of(symbol)
        if fault:
            raise UsageError(f"symbol {shorten(symbol)} {fault}", hint=_hint_for(str(symbol)))
        seen[symbol] = None
    if not seen:
        raise UsageError("no symbols were given", hint=Remedy.NAME_SYMBOLS)
    if ALL in seen and len(seen) > 1:
        raise UsageError("all stands beside other symbols", hint="all is every symbol of the listing: give it alone")
    return tuple(seen)


def _hint_for(symbol: str) -> str:
    """What a name that cannot be used was most likely meant to be: many tools write pairs with a slash."""
    bare = symbol.replace("/", "").partition(":")[0]
    if "/" in symbol and fault_of(bare) is None:
        return f"did you mean {bare}?"
    return "names look like BTCUSDT or 1000PEPEUSDT"


def split_inline(text: str, stop: threading.Event | None = None) -> list[str]:
    """The names in a list that commas separate; the names of a file stand in the place of its `@path`."""
    names: list[str] = []
    for part in (piece.strip() for piece in text.split(",")):
        if part.startswith("@"):
            names.extend(read_file(Path(part[1:]), stop))
        else:
            names.append(part)
    return names


def read_file(path: Path, stop: threading.Event | None = None) -> list[str]:
    """The names in a symbols file, which commas or white space separate; a `#` begins a comment, and BOM and CRLF may occur.

    Raises UsageError when the file cannot be read, is not UTF-8 or names no symbol, and Interrupted when `stop` is set while
    standard input lets it wait.
    """
    content = read_input(path, _WHAT, _MAX_FILE_BYTES, missing="check the path", stop=stop)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{input_name(path, _WHAT)} is not UTF-8 text", hint="save it as UTF-8") from None
    names: list[str] = []
    for line in text.splitlines():
        names.extend(line.partition("#")[0].replace(",", " ").split())
    if not names:
        raise UsageError(f"{input_name(path, _WHAT)} names no symbol", hint="write one symbol a line")
    return names
