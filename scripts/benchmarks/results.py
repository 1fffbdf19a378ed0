"""What was measured: lines with their targets, as a table and as JSON, and the machine that they hold for."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    target: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Report:
    """All lines of a run."""

    lines: list[Line]
    seconds: float

    @property
    def met(self) -> bool:
        """True when every line meets its target."""
        return all(line.met for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": machine(),
            "seconds": round(self.seconds, 1),
            "met": self.met,
            "lines": [asdict(line) for line in self.lines],
        }

    def to_text(self) -> str:
        """For people, as a table that Markdown understands."""
        header = ("what", "target", "measured", "")
        cells = [header, *((line.what, line.target, line.measured, "met" if line.met else "NOT MET") for line in self.lines)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
        rows = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
        rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        facts = ", ".join(f"{name} {value}" for name, value in machine().items())
        return "\n".join((*rows, "", f"On {facts}; {self.seconds:.0f} s in all.", ""))


def at_most(what: str, target: float, measured: float, unit: str = "", note: str = "") -> Line:
    """A line whose measure must not exceed its target."""
    return Line(what, f"<= {target:g}{unit}", f"{_short(measured)}{unit}{note}", measured <= target)


def at_least(what: str, target: float, measured: float, unit: str = "x", note: str = "") -> Line:
    """A line whose measure must reach its target."""
    return Line(what, f">= {target:g}{unit}", f"{measured:.2f}{unit}{note}", measured >= target)


def _short(value: float) -> str:
    return f"{value:g}" if value == int(value) else f"{value:.2f}"


def machine() -> dict[str, str]:
    """What the figures depend on."""
    shell = subprocess.run(["sqlite3", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return {
        "processor": f"{_processor()} x {os.cpu_count()}",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": ".".join(map(str, sys.version_info[:3])),
        "sqlite3 shell": shell[0] if shell else "none",
    }


def _processor() -> str:
    try:
        names = [
            line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
        ]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
