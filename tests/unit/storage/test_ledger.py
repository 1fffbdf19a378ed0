"""The marks that say where rows came from."""

from __future__ import annotations

from cryptoservice.storage.ledger import mark_of_text


def test_a_row_of_a_day_from_several_sources_may_be_from_any_of_them() -> None:
    texts = {"monthly": 1, "daily": 2, "rest": 4, "monthly+daily": 3, "daily+rest": 6, "monthly+daily+rest": 7, "": 0, None: 0}
    assert {text: mark_of_text(text)[0] for text in texts} == texts
    assert mark_of_text("a source of another time") == b"\0"
