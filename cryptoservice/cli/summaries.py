"""What a run that ended but lacks something says last: where, how much, the most frequent reason, and what to do."""

from __future__ import annotations

import itertools
import logging
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptoservice.audit.archive_audit.result import AuditResult
    from cryptoservice.audit.dataset_lock.comparison import LockDifference
    from cryptoservice.audit.findings import VerifyResult
    from cryptoservice.audit.verification.differences import Difference
    from cryptoservice.download.result import DownloadResult


# So many differences are named, one a line, and so many days of a symbol-month; the report has the others.
_LINES = 10
_DAYS = 3


_NO_CONNECTION = ("connection_error", "timeout", "unreachable")
"""How the reasons end of what no host has answered."""


def download_shortfall(result: DownloadResult) -> str | None:
    """What a download lacks; None when it is complete."""
    if result.complete:
        return None
    ((reason, count),) = Counter(item.reason for item in result.failed).most_common(1)
    what = f"{len(result.failed):,} of {result.wanted_symbol_days:,} symbol-days could not be fetched whole"
    again = "run the same command again to ask for them"
    if reason is not None and reason.endswith(_NO_CONNECTION):
        again = f"check the network, and the base URLs if any are set, then {again}"
    return f'{what}, {count:,} of them with the reason "{reason}": {again}'


def verify_shortfall(result: VerifyResult) -> str | None:
    """What a verification found unsound; None when all is sound."""
    parts = []
    sample = ""
    if result.sample and result.sample.symbol_days:
        # Only the same sample finds the same differences again.
        sample = f" --sample {len(result.sample.symbol_days)} --seed {result.sample.seed}"
    if result.repair is not None and result.remaining:
        left = [day for day in result.repair.days if not day.mended]
        what = f"{len(left):,} of {result.repair.symbol_days:,} symbol-days that differed could not be repaired"
        ((reason, count),) = Counter(day.reason or "no better answer" for day in left).most_common(1)
        parts.append(f'{what}, {count:,} of them with the reason "{reason}": try again later with verify --repair{sample}')
    elif result.remaining:
        total = len(result.remaining)
        ((kind, count),) = Counter(difference.kind for difference in result.remaining).most_common(1)
        what = f'{total:,} difference{"s" if total > 1 else ""}, {count:,} of them of the kind "{kind}"'
        parts.append(f"{what}: repair them with verify --repair{sample}")
    if result.unlike_lock:
        ((kind, count),) = Counter(difference.kind.value for difference in result.unlike_lock).most_common(1)
        total = len(result.unlike_lock)
        what = f"{total:,} symbol-month{'s are' if total > 1 else ' is'} not what the lock says"
        what += f', {count:,} of them of the kind "{kind}"'
        parts.append(f"{what}: fetch their days again with download --no-incremental")
    if result.sample and result.sample.failed:
        failed, drawn = result.sample.failed, len(result.sample.symbol_days)
        ((reason, count),) = Counter(item.reason for item in failed).most_common(1)
        what = f"{len(failed):,} of {drawn:,} sampled symbol-days could not be compared"
        parts.append(f'{what}, {count:,} of them with the reason "{reason}": run the same command again')
    return "; ".join(parts) or None


def difference_lines(result: VerifyResult) -> Iterator[tuple[str, dict[str, Any]]]:
    """The first ten differences that are left, each as a line and as fields for a log of objects."""
    for difference in itertools.islice(result.remaining, _LINES):
        yield difference_line(difference), difference.to_dict()


def lock_lines(result: VerifyResult) -> Iterator[tuple[str, dict[str, Any]]]:
    """The first ten symbol-months that are not what the lock says, each as a line and as fields for a log of objects."""
    for difference in itertools.islice(result.unlike_lock, _LINES):
        yield lock_line(difference), difference.to_dict()


def lock_line(difference: LockDifference) -> str:
    """Such as `lock: klines/5m LINKUSDT 2026-02 differs: 2026-02-10 differs, 2026-02-11 missing`."""
    days = [f"{day} {kind}" for day, kind in itertools.islice(difference.days.items(), _DAYS)]
    if len(difference.days) > _DAYS:
        days.append(f"{len(difference.days) - _DAYS} more days")
    where = f"lock: {difference.dataset} {difference.symbol} {difference.month} {difference.kind}"
    return f"{where}: {', '.join(days)}" if days else where


def difference_line(difference: Difference) -> str:
    """Such as `klines 5m LINKUSDT 2026-02-10 10:00:00 close: stored 9.1, rest 9.0`."""
    details = dict(difference.details)
    where = " ".join(filter(None, (difference.dataset.value, difference.freq, difference.symbol, difference.date)))
    moment = details.pop("open_time", None)
    if isinstance(moment, int):
        where += f" {datetime.fromtimestamp(moment / 1000, timezone.utc):%H:%M:%S}"
    if "field" not in details:
        return f"{where} {difference.kind}{_values(details)}"
    # Both values stand with the name of the source that has them.
    field, stored = details["field"], details["stored"]
    if "aggregated" in details:
        return f"{where} {field}: stored {stored}, all {details['aggregated_freq']} bars together {details['aggregated']}"
    return f"{where} {field}: stored {stored}, {details['other_source']} {details['other']}"


def _values(details: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in details.items())
    return f": {told}" if told else ""


def refetch_lines(result: AuditResult, given: Mapping[str, str | None]) -> list[str]:
    """The downloads that fetch changed days again, as they are typed, with these flags of the audit where they were given."""
    flags = [word for flag, value in given.items() if value is not None for word in (flag, value)]
    lines = []
    for one in result.refetch:
        words = ["cryptoservice", "universe", "download", *flags, "--interval", one.interval]
        words += [*(["--download-market-metrics"] if one.with_metrics else []), "--no-incremental"]
        words += ["--symbols", ",".join(one.symbols)]
        words += ["--start-date", one.window.start.isoformat(), "--end-date", one.window.end.isoformat()]
        lines.append(shlex.join(words))
    return lines


def audit_shortfall(result: AuditResult, refetch: Sequence[str]) -> str | None:
    """What an audit found published anew, and what to do about it; None when there is nothing."""
    if not result.republished:
        return None
    what = f"{len(result.republished):,} of {result.checked:,} archive files were published anew since they were downloaded"
    more = f" (and {len(refetch) - 1:,} more lines, which the report has)" if len(refetch) > 1 else ""
    return f"{what}; to fetch their days again: {refetch[0]}{more}"


def audit_lines(result: AuditResult) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The first ten files that were published anew, and the first ten that are gone: level, line, and fields for a log."""
    for one in itertools.islice(result.republished, _LINES):
        line = f"{one.object}: published anew, SHA-256 was {one.old}, is {one.new}"
        yield logging.ERROR, line, {"audited": one.to_dict()}
    for gone in itertools.islice(result.gone, _LINES):
        yield logging.WARNING, f"{gone.object}: gone from the archive", {"audited": gone.to_dict()}
