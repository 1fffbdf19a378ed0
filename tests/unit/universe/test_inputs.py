"""Files that a user names as input: what is read, and what is refused in one sentence."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from cryptoservice.errors import Interrupted, Remedy, UsageError
from cryptoservice.universe.inputs import read_input


def test_a_file_is_read_whole_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for content in (b"", b"A\r\n\xff\x00", b"x" * 20):
        path.write_bytes(content)
        assert read_input(path, "symbols file", 20, missing="check the path") == content
    (tmp_path / "link.txt").symlink_to(path)
    assert read_input(tmp_path / "link.txt", "symbols file", 20, missing="check the path") == b"x" * 20


def test_a_larger_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as handle:
        handle.truncate(2 * 2**20 + 1)
    with pytest.raises(UsageError) as caught:
        read_input(path, "symbols file", 2 * 2**20, missing="check the path")
    assert str(caught.value) == f"symbols file {path} is larger than 2 MiB; is it the right file?"


def test_a_file_that_grows_after_it_was_measured_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 2**20)
    real = Path.open

    def grown(self: Path, mode: str) -> object:
        os.truncate(path, 2**20 + 1)
        return real(self, mode)

    monkeypatch.setattr(Path, "open", grown)
    with pytest.raises(UsageError, match="is larger than 1 MiB"):
        read_input(path, "symbols file", 2**20, missing="check the path")


def test_a_missing_file_gets_the_hint_of_its_caller(tmp_path: Path) -> None:
    path = tmp_path / "absent"
    for missing, hint, remedy in (
        ("check the path", "check the path", None),
        (Remedy.DEFINE_FIRST, "define a universe first", Remedy.DEFINE_FIRST),
    ):
        with pytest.raises(UsageError) as caught:
            read_input(path, "universe file", 10, missing=missing)
        assert caught.value.message == f"universe file {path} does not exist"
        assert (caught.value.hint, caught.value.remedy) == (hint, remedy)


def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path: Path) -> None:
    # Opening a pipe that nobody writes to would wait for ever.
    os.mkfifo(tmp_path / "pipe")
    for path, problem, hint in (
        (tmp_path, "is a folder", "name a file inside it"),
        (tmp_path / "pipe", "is not a regular file", "write it to a file first"),
        (Path(os.devnull), "is not a regular file", "write it to a file first"),
    ):
        with pytest.raises(UsageError) as caught:
            read_input(path, "symbols file", 10, missing="check the path")
        assert str(caught.value) == f"symbols file {path} {problem}; {hint}"


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    for name, reason in (("nul\0byte", "it holds a NUL"), ("x" * 300, "file name too long")):
        with pytest.raises(UsageError, match="its name cannot be used") as caught:
            read_input(tmp_path / name, "symbols file", 10, missing="check the path")
        assert f"({reason})" in caught.value.message


def test_a_file_that_the_system_does_not_give_is_refused_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Permissions do not stop the root user, who may run the tests.
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UsageError) as caught:
        read_input(path, "symbols file", 10, missing="check the path")
    assert str(caught.value) == (
        f"symbols file {path} cannot be read: permission denied; check the permissions of the file and its folder"
    )


class _Stdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_standard_input_is_read_to_its_end_and_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Stdin(b" A\nB"))
    assert read_input(Path("-"), "symbols file", 10, missing="?") == b" A\nB"
    for stdin, words in (
        (None, "symbols file (standard input) is closed"),
        (_Stdin(b""), "symbols file (standard input) is empty"),
        (_Stdin(b" \n\t"), "symbols file (standard input) is empty"),
        (_Stdin(b"12345678901"), "symbols file (standard input) is larger than 0 MiB"),
    ):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(UsageError) as caught:
            read_input(Path("-"), "symbols file", 10, missing="?")
        assert caught.value.message == words
        assert caught.value.hint


def test_a_stop_ends_the_wait_for_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    stop = threading.Event()
    with open(reading, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(writing, b"LINKUSDT")
        guard = threading.Timer(0.3, stop.set)
        guard.start()
        with pytest.raises(Interrupted):
            read_input(Path("-"), "symbols file", 10, missing="?", stop=stop)
        guard.join()
        os.write(writing, b" A")
        os.close(writing)
        assert read_input(Path("-"), "symbols file", 10, missing="?", stop=threading.Event()) == b" A"


def test_a_file_named_like_the_sign_of_standard_input_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(b"A")
    # Path drops the leading dot, so the name must come with its folder.
    assert read_input(tmp_path / "-", "symbols file", 10, missing="?") == b"A"
