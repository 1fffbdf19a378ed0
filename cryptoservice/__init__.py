"""Reproducible datasets of Binance USDT-M perpetual futures: define, download, export.

The public names stand in `__init__.pyi`, where type checkers and editors read them. This module reads them there too, and loads
each on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from functools import cache as _cache
from typing import Any as _Any

from cryptoservice._version import __version__ as __version__


@_cache
def _homes() -> dict[str, str]:
    """The module of each public name. Every line of the stub is `from MODULE import NAME as NAME`."""
    stub: bytes = __spec__.loader.get_data(f"{__path__[0]}/__init__.pyi")  # type: ignore[union-attr]
    lines = (line.split() for line in stub.decode("utf-8").splitlines() if line.startswith("from "))
    return {name: module for _, module, _, name, *_ in lines}


def __getattr__(name: str) -> _Any:
    if name == "__all__":
        return sorted(_homes())
    if name.startswith("__") or name not in _homes():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value = globals()[name] = getattr(import_module(_homes()[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(_homes().keys() | {name for name in globals() if name.startswith("__")})
