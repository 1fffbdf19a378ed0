"""Rows that are not kept as tuples, which would take more memory and more time on their way to or from the database."""

from __future__ import annotations

import struct
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from operator import eq
from typing import Any, overload

from cryptoservice.models import Row

_BYTES_OF_A_NUMBER = 8


def columns_of(rows: Sequence[Row]) -> Iterable[Sequence[Any]]:
    """The columns of any rows, each with one value per row."""
    return rows.columns() if isinstance(rows, _Columnar) else zip(*rows, strict=True)


class _Columnar(Sequence[Row]):
    """A sequence of rows that gives its columns at once; a row becomes a tuple only when it is read."""

    @abstractmethod
    def columns(self) -> list[list[Any]]:
        """The same rows as one list for each column."""

    @abstractmethod
    def _row(self, position: int) -> Row:
        """The row at a position from 0 up."""

    def _part(self, part: slice) -> Sequence[Row]:
        return list(self)[part]

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self._part(index) if isinstance(index, slice) else self._row(range(len(self))[index])

    def __iter__(self) -> Iterator[Row]:
        return zip(*self.columns(), strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} rows)"


class ColumnRows(_Columnar):
    """Rows kept as columns.

    They take a fifth of the memory of tuples and are quick to send to another process. `start` and `stop` are the range of the
    columns that belongs to them, so that a slice shares the columns.
    """

    def __init__(self, columns: Sequence[array[Any]], start: int, stop: int) -> None:
        self._columns = columns
        self._start = start
        self._stop = stop

    def columns(self) -> list[list[Any]]:
        """The same rows as one list for each column."""
        return [column[self._start : self._stop].tolist() for column in self._columns]

    def moved(self, milliseconds: int) -> ColumnRows:
        """The same rows so much later; the time is their first column."""
        times = self._columns[0][self._start : self._stop]
        moved = array(times.typecode, [time + milliseconds for time in times])
        return ColumnRows([moved, *(column[self._start : self._stop] for column in self._columns[1:])], 0, len(moved))

    def __len__(self) -> int:
        return self._stop - self._start

    def _row(self, position: int) -> Row:
        return tuple(column[self._start + position] for column in self._columns)

    def _part(self, part: slice) -> Sequence[Row]:
        start, stop, step = part.indices(len(self))
        if step != 1:
            return super()._part(part)
        return ColumnRows(self._columns, self._start + start, self._start + max(start, stop))


class PackedRows(_Columnar):
    """Rows of numbers as bytes, one row after the other, as SQLite packs them.

    `codes` has a letter for each column, as in the struct module: `q` for whole numbers, `d` for floats.
    """

    def __init__(self, codes: str, packed: bytes) -> None:
        self.codes = codes
        self._packed = packed

    @staticmethod
    @cache
    def form(codes: str) -> struct.Struct:
        """The form of one row, whose `pack` makes the bytes of a row."""
        return struct.Struct(f"={codes}")

    def values(self) -> tuple[Any, ...]:
        """All values, row after row."""
        return struct.unpack(f"={self.codes * len(self)}", self._packed)

    def columns(self) -> list[list[Any]]:
        """The same rows as one list for each column."""
        numbers = {code: memoryview(self._packed).cast(code) for code in set(self.codes)}  # type: ignore[call-overload]
        width = len(self.codes)
        return [numbers[code][place::width].tolist() for place, code in enumerate(self.codes)]

    def __len__(self) -> int:
        return len(self._packed) // (_BYTES_OF_A_NUMBER * len(self.codes))

    def _row(self, position: int) -> Row:
        form = self.form(self.codes)
        return form.unpack_from(self._packed, position * form.size)
