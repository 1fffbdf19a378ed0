"""The last line of a run that ended but lacks something: how much is missing, the most frequent reason, and what to do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptoservice.audit.findings import VerifyResult
    from cryptoservice.download.result import DownloadResult


def download_shortfall(result: DownloadResult) -> str | None:
    """What a download lacks; None when it is complete."""
    if result.complete:
        return None
    ((reason, count),) = Counter(item.reason for item in result.failed).most_common(1)
    what = f"{len(result.failed)} of {result.wanted_symbol_days} symbol-days could not be fetched whole"
    return f'{what}, {count} of them with the reason "{reason}": run the same command again to ask for them'


def verify_shortfall(result: VerifyResult) -> str | None:
    """What a verification found unsound; None when all is sound."""
    parts = []
    if result.differences_by_kind:
        total = result.differences_total
        ((kind, count),) = Counter(result.differences_by_kind).most_common(1)
        what = f'{total} difference{"s" if total > 1 else ""}, {count} of them of the kind "{kind}"'
        parts.append(f"{what}: look them up in the report, then fetch those days again with download --no-incremental")
    if result.sample and result.sample.failed:
        failed, drawn = result.sample.failed, len(result.sample.symbol_days)
        ((reason, count),) = Counter(item.reason for item in failed).most_common(1)
        what = f"{len(failed)} of {drawn} sampled symbol-days could not be compared"
        parts.append(f'{what}, {count} of them with the reason "{reason}": run the same command again')
    return "; ".join(parts) or None
