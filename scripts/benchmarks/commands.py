"""Running whole commands: how long they take, how much memory they and their children hold, and pairs of them in turn."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile

PAIRS = 3
_PAGE_BYTES = 4096
_SAMPLE_SECONDS = 0.01
CRYPTOSERVICE = (str(Path(sys.executable).with_name("cryptoservice")), "universe")
_FAST_CLOCK = Path(__file__).with_name("fast_clock.py")


def clocked(now: datetime, times: int = 1) -> tuple[str, ...]:
    """The same command on a clock of its own: it begins with that moment, and runs so many times as fast."""
    return (sys.executable, str(_FAST_CLOCK), str(times), now.isoformat(), "universe")


@dataclass(frozen=True)
class Run:
    """One command from its start to its end."""

    seconds: float
    stdout: str
    cpu_seconds: float
    """Processor time of the command and of all its children that it has waited for."""
    peak_bytes: int = 0
    """Resident memory of the command and all its children together, at its highest; 0 when nobody watched."""
    stderr: str = ""


@dataclass(frozen=True)
class Pair:
    """Our command and the reference, one right after the other."""

    ours: float
    reference: float

    @property
    def speed(self) -> float:
        """Our rows per second over the reference's, for the same rows."""
        return self.reference / self.ours


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    watch_memory: bool = False,
    code: int = 0,
) -> Run:
    """Run it; a command that ends with another exit code ends the benchmark with what it said."""
    with TemporaryFile("w+") as stdout, TemporaryFile("w+") as stderr:
        cpu_before = _children_cpu()
        started = time.perf_counter()
        child = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE if stdin else None, stdout=stdout, stderr=stderr, text=True
        )
        watch = _MemoryWatch(child.pid) if watch_memory else contextlib.nullcontext()
        with watch:
            child.communicate(stdin)
        seconds = time.perf_counter() - started
        stdout.seek(0)
        stderr.seek(0)
        if child.returncode != code:
            raise SystemExit(f"{' '.join(command)} ended with exit code {child.returncode}:\n{stderr.read()}")
        cpu_seconds = _children_cpu() - cpu_before
        peak = watch.peak if isinstance(watch, _MemoryWatch) else 0
        return Run(seconds, stdout.read(), cpu_seconds, peak, stderr.read())


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def best_pair(ours: Callable[[], float], reference: Callable[[], float], count: int = PAIRS) -> Pair:
    """The pair with the best ratio of so many, run in turn: what disturbs the machine strikes both."""
    pairs = []
    for number in range(count):
        if number % 2:
            theirs = reference()
            pairs.append(Pair(ours(), theirs))
        else:
            mine = ours()
            pairs.append(Pair(mine, reference()))
    return max(pairs, key=lambda pair: pair.speed)


class _MemoryWatch:
    """Adds up the resident memory of a process tree, again and again, in a thread."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, _tree_bytes(self._pid))


def _tree_bytes(pid: int) -> int:
    try:
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        children = [
            int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except (OSError, IndexError):
        return 0
    return resident + sum(map(_tree_bytes, children))
