"""The tree of errors: exit codes, hints and remedies."""

from __future__ import annotations

import re

import pytest

from cryptoservice import errors
from cryptoservice.errors import CryptoserviceError, Interrupted, Remedy, SourceError, StoreError, UsageError


def test_each_family_carries_its_exit_code() -> None:
    tree = {
        "CryptoserviceError": ("Exception", 1),
        "UsageError": ("CryptoserviceError", 2),
        "StoreError": ("CryptoserviceError", 1),
        "StoreBusy": ("StoreError", 5),
        "OutputError": ("CryptoserviceError", 1),
        "SourceError": ("CryptoserviceError", 1),
        "SymbolRefused": ("SourceError", 1),
        "HistoryEnded": ("SourceError", 1),
        "SourceRefused": ("SourceError", 4),
        "NetworkSetupError": ("CryptoserviceError", 1),
        "Interrupted": ("CryptoserviceError", 130),
    }
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert {name: (value.__bases__[0].__name__, value.exit_code) for name, value in classes.items()} == tree
    # The module's drawing of the tree names every class once.
    drawn = re.findall(r"^[|` -]*([A-Z]\w+)  ", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(tree)


def test_an_error_says_what_happened_and_what_to_do() -> None:
    plain = StoreError("the database is locked")
    assert (plain.message, plain.hint, plain.remedy, str(plain)) == (
        "the database is locked",
        None,
        None,
        "the database is locked",
    )
    hinted = UsageError("the end lies before the start", hint="swap the two dates")
    assert (hinted.message, hinted.hint, hinted.remedy) == ("the end lies before the start", "swap the two dates", None)
    assert str(hinted) == "the end lies before the start; swap the two dates"


def test_a_remedy_is_a_hint_in_neutral_words() -> None:
    error = UsageError("no symbols were given", hint=Remedy.NAME_SYMBOLS)
    assert error.remedy is Remedy.NAME_SYMBOLS
    assert error.hint == "name at least one symbol, such as BTCUSDT"
    assert str(error) == "no symbols were given; name at least one symbol, such as BTCUSDT"


def test_the_facts_of_an_error_fill_its_remedy() -> None:
    error = SourceError("banned", reason="banned", hint=Remedy.WAIT_FOR_BAN, until="12:00 UTC", longest=300.0)
    assert error.hint == "run it again after 12:00 UTC, or allow a longer wait for a ban (now 300 s)"
    assert error.facts == {"until": "12:00 UTC", "longest": 300.0}
    assert error.reason == "banned"
    # Facts belong to remedies alone: a sentence with braces in it stays as it is.
    assert CryptoserviceError("x", hint="a {brace}", until="y").hint == "a {brace}"


def test_a_remedy_without_its_facts_is_a_mistake_of_the_program() -> None:
    with pytest.raises(KeyError):
        SourceError("banned", hint=Remedy.WAIT_FOR_BAN)


def test_no_remedy_names_a_flag_or_a_command_line() -> None:
    found = [remedy.name for remedy in Remedy if re.search(r"--\w|cryptoservice universe", remedy.value)]
    assert found == []


def test_the_defaults_of_reasons_and_interrupts() -> None:
    assert SourceError("x").reason == "request_failed"
    assert str(Interrupted()) == "interrupted"
    assert str(Interrupted("interrupted by SIGHUP", hint="run it again")) == "interrupted by SIGHUP; run it again"
