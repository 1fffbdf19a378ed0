"""Symbol names and lists of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.errors import Remedy, UsageError
from cryptoservice.universe import symbols

GOOD = [
    "BTCUSDT",
    "1000PEPEUSDT",
    "4USDT",
    "币安人生USDT",
    "龙虾USDT",
    "我踏马来了USDT",
    "BTCUSDT_250328",
    "ICPUSDT_SETTLED",
    "A-B.C",
]


BAD: list[tuple[object, str]] = [
    ("", "is not a symbol name"),
    (None, "is not a symbol name"),
    (7, "is not a symbol name"),
    (["BTCUSDT"], "is not a symbol name"),
    ("btcusdt", "is not upper case"),
    ("éUSDT", "is not upper case"),
    ("A" * 65, "is longer than 64 characters"),
    ("..", "could leave its folder"),
    ("A..B", "could leave its folder"),
    (".HIDDEN", "could leave its folder"),
    ("A/B", "holds '/'"),
    ("A\\B", "holds '\\\\'"),
    ("A B", "holds ' '"),
    ("A\tB", "holds '\\t'"),
    ("A\u00a0B", "holds '\\xa0'"),
    ("A\u200bB", "holds '\\u200b'"),
    ("A\u202eB", "holds '\\u202e'"),
    ("A\x00B", "holds '\\x00'"),
    ("A\ud800B", "holds '\\ud800'"),
    ("A,B", "holds ','"),
    ('A"B', "holds '\"'"),
    ("A'B", 'holds "\'"'),
    ("A;B", "holds ';'"),
    ("A%2FB", "holds '%'"),
    ("A?B", "holds '?'"),
    ("A#B", "holds '#'"),
    ("-A", "starts with '-'"),
    ("=A", "starts with '='"),
    ("@A", "starts with '@'"),
    ("+A", "starts with '+'"),
]


def test_names_that_the_exchange_has_are_safe() -> None:
    assert {symbol: symbols.fault_of(symbol) for symbol in GOOD} == dict.fromkeys(GOOD)


def test_unsafe_names_are_refused_with_the_reason() -> None:
    for symbol, fault in BAD:
        assert fault in (symbols.fault_of(symbol) or "safe"), symbol


def test_the_longest_name_is_64_characters() -> None:
    assert symbols.fault_of("A" * 64) is None


@given(st.text(max_size=80))
def test_a_safe_name_fits_a_path_a_url_and_a_csv_field(name: str) -> None:
    if symbols.fault_of(name) is None:
        assert name == name.strip()
        assert name == name.upper()
        assert not set(name) & set("/\\,\"'\r\n\t\x00 ?#%&=+:;<>|*@")
        assert ".." not in name
        assert name.encode("utf-8").decode("utf-8") == name


def test_normalise_strips_raises_and_keeps_the_first_of_doubles() -> None:
    assert symbols.normalise([" ethusdt ", "BTCUSDT", "", "EthUsdt", "\tbtcusdt\r\n"]) == ("ETHUSDT", "BTCUSDT")


def test_normalise_refuses_an_unsafe_name_and_shows_it() -> None:
    with pytest.raises(UsageError, match=r"symbol '\.\./ETC' could leave its folder"):
        symbols.normalise(["BTCUSDT", "../etc"])


def test_normalise_refuses_what_is_no_text() -> None:
    for name in (5, None, b"BTCUSDT", float("nan")):
        with pytest.raises(UsageError, match="is not a symbol name"):
            symbols.normalise(["BTCUSDT", name])  # type: ignore[list-item]


def test_normalise_refuses_an_empty_list() -> None:
    for names in ([], ["", "  ", "\t"]):
        with pytest.raises(UsageError, match="no symbols were given") as caught:
            symbols.normalise(names)
        assert caught.value.remedy is Remedy.NAME_SYMBOLS


def test_normalise_refuses_one_string_which_would_be_taken_for_a_list_of_letters() -> None:
    with pytest.raises(UsageError, match="symbols is one string: 'BTCUSDT'"):
        symbols.normalise("BTCUSDT")


def test_inline_lists_splice_files_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "majors.txt"
    file.write_text("ETHUSDT\nBNBUSDT\n", encoding="utf-8")
    assert symbols.split_inline(f"BTCUSDT, @{file} ,SOLUSDT") == ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"]


def test_a_file_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "majors.txt").write_text("ETHUSDT\n", encoding="utf-8")
    assert symbols.split_inline("BTCUSDT,@~/majors.txt") == ["BTCUSDT", "ETHUSDT"]
    with pytest.raises(UsageError, match="symbols file ~nosuchuser/f does not exist"):
        symbols.split_inline("@~nosuchuser/f")


def test_files_may_hold_commas_spaces_comments_blanks_bom_and_crlf(tmp_path: Path) -> None:
    file = tmp_path / "symbols.txt"
    file.write_bytes(
        "\ufeffBTCUSDT, ETHUSDT # majors\r\n\r\n# all of this line\r\n  SOLUSDT\tBNBUSDT,,ADAUSDT\r\n币安人生USDT".encode()
    )
    assert symbols.read_file(file) == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "ADAUSDT", "币安人生USDT"]


def test_a_file_without_names_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "symbols.txt"
    for content in (b"", b"\n\n", b"# nothing but a comment\n", b" , ,\n", b"\xef\xbb\xbf"):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="names no symbol"):
            symbols.read_file(file)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "symbols.txt"
    file.write_bytes(b"BTCUSDT\xff\xfe")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        symbols.read_file(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        symbols.read_file(tmp_path / "absent.txt")
    with pytest.raises(UsageError, match="is a folder"):
        symbols.read_file(tmp_path)
    with pytest.raises(UsageError, match="its name cannot be used"):
        symbols.read_file(tmp_path / "nul\0byte")


def test_a_file_larger_than_any_symbol_list_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "huge.txt"
    with file.open("wb") as handle:
        handle.truncate(4 * 1024 * 1024 + 1)
    with pytest.raises(UsageError, match="is larger than 4 MiB"):
        symbols.read_file(file)
