"""Remedies in the words of the command line."""

from __future__ import annotations

import re
from string import Formatter

from cryptoservice.cli.parser import build_parser
from cryptoservice.cli.remedies import hint_of
from cryptoservice.errors import CryptoserviceError, Remedy
from tests.unit.cli.test_parser import commands

# Whatever an error can tell; a remedy uses what it needs.
FACTS = {"until": "2026-03-05 10:00:00 UTC", "longest": 300.0, "intervals": "1m 5m"}


def test_every_remedy_has_words_whose_places_are_filled() -> None:
    for remedy in Remedy:
        hint = hint_of(CryptoserviceError("it broke", hint=remedy, **FACTS))
        assert hint, remedy
        assert "{" not in hint, hint
        assert "\n" not in hint, hint


def test_the_words_need_no_facts_beyond_those_of_the_library() -> None:
    for remedy in Remedy:
        places = {name for _, name, _, _ in Formatter().parse(remedy.value) if name}
        assert hint_of(CryptoserviceError("it broke", hint=remedy, **{name: FACTS[name] for name in places}))


def test_the_words_name_only_flags_and_commands_that_exist() -> None:
    known = {
        words: {spelled for action in parser._actions for spelled in action.option_strings}
        for words, parser in commands(build_parser())
    }
    flags = set().union(*known.values())
    named = 0
    for remedy in Remedy:
        hint = hint_of(CryptoserviceError("it broke", hint=remedy, **FACTS)) or ""
        for flag in re.findall(r"--[a-z-]+", hint):
            named += 1
            assert flag in flags, hint
        for command, rest in re.findall(r"cryptoservice (universe [a-z]+)(.*)", hint):
            assert set(re.findall(r"--[a-z-]+", rest)) <= known[command], hint
    assert named > 15


def test_some_hints_word_for_word() -> None:
    ban = CryptoserviceError("banned", hint=Remedy.WAIT_FOR_BAN, until="10:07", longest=300.0)
    assert hint_of(ban) == "run again after 10:07, or allow a longer wait with --max-ban-wait (now 300 s)"
    assert ban.hint == "run it again after 10:07, or allow a longer wait for a ban (now 300 s)"
    exists = CryptoserviceError("exists", hint=Remedy.REPLACE_UNIVERSE)
    assert hint_of(exists) == "a universe is immutable: choose another name, or pass --force"
    assert hint_of(CryptoserviceError("it broke", hint="a {literal} hint")) == "a {literal} hint"
    assert hint_of(CryptoserviceError("it broke")) is None
