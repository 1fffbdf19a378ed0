"""Where the report of a run goes: as JSON to stdout or to a file, or as a few lines to a person at a terminal.

A person is who sees stdout on a terminal and did not ask for JSON. Then stdout stays empty, and the lines go to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from cryptoservice import files
from cryptoservice.cli.flags.shared import expand_home
from cryptoservice.errors import OutputError, UsageError

Args = argparse.Namespace
Record = dict[str, Any]

STANDARD_STREAM = "-"
_FILES = {
    "universe_file": "universe file",
    "db_path": "database",
    "output": "output",
    "lock": "lock file",
    "symbols_file": "symbols file",
}


def is_for_people(args: Args) -> bool:
    """Whether a person reads what the run says at its end."""
    return not is_wanted_as_json(args) and sys.stdout is not None and sys.stdout.isatty()


def is_wanted_as_json(args: Args) -> bool:
    """Whether stdout has to carry the report, whatever it is."""
    return bool(args.json) or args.report == STANDARD_STREAM


def check(args: Args) -> None:
    """Raise an error, before any work, when the report could not be written where it should be."""
    if getattr(args, "output", None) == STANDARD_STREAM and is_wanted_as_json(args):
        given = "--json" if args.json else "--report -"
        raise UsageError(
            f"stdout cannot carry both the output and the report: --output - with {given}",
            hint="write one of them to a file, with --output FILE or --report FILE",
        )
    if args.report is None or args.report == STANDARD_STREAM:
        return
    path = Path(args.report)
    files.refuse_folder(path, "the report")
    # A file would take the place of a device or of a pipe.
    if path.exists() and not path.is_file():
        raise UsageError(f"the report {path} is not a regular file", hint="name a file, or - for standard output")
    for what, other in _files_of_the_run(args):
        if _is_same(path, other):
            raise UsageError(f"the report {path} is the {what} of this run", hint="choose another name")
    files.clean_temps(path.absolute().parent)
    files.require_place(path)


def _files_of_the_run(args: Args) -> Iterator[tuple[str, str]]:
    for name, what in _FILES.items():
        if getattr(args, name, None) is not None:
            yield what, getattr(args, name)
    for part in (getattr(args, "symbols", None) or "").split(","):
        if part.strip().startswith("@"):
            yield "symbols file", expand_home(part.strip()[1:])


def _is_same(path: Path, other: str) -> bool:
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    # One file may have two names.
    with contextlib.suppress(OSError, ValueError):
        return path.samefile(other)
    return False


def deliver(args: Args, record: Record, lines: Callable[[], Iterable[str]], *, whole: Callable[[], Record] | None = None) -> None:
    """Give the report of a run that came to its end to all who want it.

    `record` is what stdout can hold, and `lines` say it to people. `whole` is the record with nothing left out, where `record`
    leaves something out: it goes to the file that --report names, and to stdout when that names stdout.
    """
    try:
        _write_file(args, record, whole)
    finally:
        # A disk that is full takes the report from nobody else.
        if args.report == STANDARD_STREAM and whole is not None:
            _print_json(whole())
        elif not is_for_people(args):
            _print_json(record)
        else:
            _show(args, lines())


def deliver_beside(args: Args, record: Record, data: str = "") -> None:
    """Print data that is not the report, such as a universe; the report goes to its file alone."""
    try:
        _write_file(args, record, None)
    finally:
        if data:
            with data_stream() as stream:
                stream.write(data)


@contextlib.contextmanager
def data_stream() -> Iterator[TextIO]:
    """stdout for what a file would hold: UTF-8 as in a file of this program, whatever the terminal is, no character replaced."""
    _require_stdout()
    sys.stdout.flush()
    stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
    try:
        yield stream
        stream.flush()
    finally:
        with contextlib.suppress(OSError, ValueError):
            # Otherwise the end of the wrapper would close stdout.
            stream.detach()


def _write_file(args: Args, record: Record, whole: Callable[[], Record] | None) -> None:
    if args.report is None or args.report == STANDARD_STREAM:
        return
    with files.atomic_text(Path(args.report)) as handle:
        handle.write(_json_for("utf-8", record if whole is None else whole(), indent=2))


def _show(args: Args, lines: Iterable[str]) -> None:
    if args.quiet or args.log_format != "text" or sys.stderr is None:
        return
    for line in lines:
        # The name of a file may hold characters that move the cursor.
        sys.stderr.write("".join(char if char.isprintable() else ascii(char)[1:-1] for char in line) + "\n")
    sys.stderr.flush()


def _print_json(record: Record) -> None:
    _require_stdout()
    sys.stdout.write(_json_for(sys.stdout.encoding or "utf-8", record))
    sys.stdout.flush()


def _json_for(encoding: str, record: Record, indent: int | None = None) -> str:
    text = json.dumps(record, ensure_ascii=False, indent=indent)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        # A path or a terminal may not be UTF-8. JSON can escape what is not ASCII.
        text = json.dumps(record, indent=indent)
    return text + "\n"


def _require_stdout() -> None:
    if sys.stdout is None:
        raise OutputError("stdout is closed: nothing can be printed", hint="send it to a file or to /dev/null")
