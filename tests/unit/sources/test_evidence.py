"""Evidence: sources in the order of trust, and the marks that say of each row where it came from."""

from __future__ import annotations

from itertools import combinations

import pytest

from cryptoservice.sources.evidence import Source, sources_of

TRUST = [Source.MONTHLY, Source.DAILY, Source.REST]


def test_a_mark_of_a_more_trusted_source_is_greater_than_all_lesser_marks_together() -> None:
    assert list(Source) == TRUST
    for place, source in enumerate(TRUST):
        assert source.mark > sum(lesser.mark for lesser in TRUST[:place])


@pytest.mark.parametrize("chosen", [some for size in range(4) for some in combinations(TRUST, size)])
def test_marks_name_their_sources_by_rising_trust(chosen: tuple[Source, ...]) -> None:
    one_by_one = [source.mark for source in chosen]
    assert sources_of(one_by_one) == chosen
    assert sources_of([sum(one_by_one)]) == chosen, "a row that all of them hold"
    assert sources_of(reversed(one_by_one * 3)) == chosen


def test_a_source_is_written_as_its_word() -> None:
    assert "+".join(map(str, TRUST)) == "monthly+daily+rest"
