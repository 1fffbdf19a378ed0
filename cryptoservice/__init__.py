"""Reproducible datasets of Binance USDT-M perpetual futures: define, download, export.

The public names stand in `__init__.pyi`, where type checkers and editors read them. Here they are loaded from there on first
use, so that importing the package costs nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from cryptoservice._version import __version__ as __version__


@cache
def _homes() -> dict[str, str]:
    """The module of each public name."""
    import ast  # noqa: PLC0415
    from importlib import resources  # noqa: PLC0415

    stub = ast.parse(resources.files(__name__).joinpath("__init__.pyi").read_text(encoding="utf-8"))
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom) and node.module)
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted(_homes())
    if name.startswith("__") or name not in _homes():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_homes()[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_homes()})
