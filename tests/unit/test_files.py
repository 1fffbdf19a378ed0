"""Result files: whole or not at all, and nothing left behind."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptoservice import files
from cryptoservice.errors import OutputError, UsageError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def umask_027() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_the_target_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "out.csv"
    with files.atomic_text(target) as handle:
        handle.write("a\nb\r\n€")
        handle.flush()
        assert not target.exists()
        assert len(names(target.parent)) == 1
    assert target.read_bytes() == b"a\nb\r\n\xe2\x82\xac"
    assert names(target.parent) == ["out.csv"]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old", encoding="utf-8")
    with files.atomic_text(target, durable=False) as handle:
        handle.write("new")
        handle.flush()
        assert target.read_text(encoding="utf-8") == "old"
    assert target.read_text(encoding="utf-8") == "new"


def test_bytes_appear_as_text_does(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out.csv"
    with files.atomic_bytes(target, durable=False) as handle:
        handle.write(b"a\r\n\xff")
        handle.flush()
        assert not target.exists()
    assert target.read_bytes() == b"a\r\n\xff"
    with pytest.raises(ValueError, match="broken"), files.atomic_bytes(target) as handle:
        handle.write(b"half")
        raise ValueError("broken")
    assert (target.read_bytes(), names(target.parent)) == (b"a\r\n\xff", ["out.csv"])


@pytest.mark.parametrize(
    "name",
    ["a" * 250 + ".csv", "币" * 83 + ".json", "a" + "币" * 83 + ".csv", "𝄞" * 62 + ".csv", os.fsdecode(b"\xff" * 250 + b".csv")],
    ids=["one byte each", "three bytes each", "three, off by one", "four bytes each", "no UTF-8 at all"],
)
def test_every_name_that_the_file_system_allows_can_be_written(tmp_path: Path, name: str) -> None:
    assert 250 <= len(os.fsencode(name)) <= 255
    with files.atomic_text(tmp_path / name) as handle:
        handle.write("text")
        (temp,) = tmp_path.iterdir()
        # It is one that is cleaned up after a crash, and a valid text wherever the target's is.
        assert files._TEMP_FORM.match(temp.name)
        temp.name.encode("utf-8")
    assert (tmp_path / name).read_text(encoding="utf-8") == "text"
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_failing_block_leaves_the_old_file_and_no_temp(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(type(error)), files.atomic_text(target) as handle:
        handle.write("half")
        raise error
    assert target.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["out.csv"]


def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "out.csv"
    target.write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", full)
    words = r"cannot write .*out\.csv: no space left on device"
    with pytest.raises(OutputError, match=words) as caught, files.atomic_text(target) as handle:
        handle.write("new")
    assert caught.value.hint == "free some space and run it again"
    assert caught.value.exit_code == 1
    assert target.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["out.csv"]


def test_durable_files_and_their_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    real = os.fsync

    def spy(handle: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        real(handle)

    monkeypatch.setattr(os, "fsync", spy)
    with files.atomic_text(tmp_path / "a") as handle:
        handle.write("x")
    assert synced == [False, True]
    with files.atomic_text(tmp_path / "b", durable=False) as handle:
        handle.write("x")
    assert synced == [False, True]


def test_without_replace_an_existing_target_wins(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("first", encoding="utf-8")
    with pytest.raises(files.TargetExists, match="exists already") as caught, files.atomic_text(target, replace=False) as handle:
        handle.write("second")
    assert caught.value.exit_code == 2
    assert target.read_text(encoding="utf-8") == "first"
    assert names(tmp_path) == ["out.json"]


def test_without_replace_a_target_that_appears_meanwhile_wins(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    with pytest.raises(files.TargetExists), files.atomic_text(target, replace=False) as handle:
        handle.write("second")
        target.write_text("first", encoding="utf-8")
    assert target.read_text(encoding="utf-8") == "first"
    assert names(tmp_path) == ["out.json"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_exclusive_create_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_link)
    target = tmp_path / "out.json"
    with files.atomic_text(target, replace=False) as handle:
        handle.write("first")
    with pytest.raises(files.TargetExists), files.atomic_text(target, replace=False) as handle:
        handle.write("second")
    assert target.read_text(encoding="utf-8") == "first"
    assert names(tmp_path) == ["out.json"]


def test_of_many_exclusive_writers_exactly_one_wins(tmp_path: Path) -> None:
    """Each writer is a process of its own, as two cron lines are."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom cryptoservice import files\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "    with files.atomic_text(Path(sys.argv[1]), replace=False) as handle:\n"
        "        handle.write(sys.argv[2] * 1000)\n"
        "except files.TargetExists:\n"
        "    sys.exit(7)\n"
    )
    target = tmp_path / "out.json"
    writers = [subprocess.Popen([sys.executable, "-c", program, str(target), letter], stdin=subprocess.PIPE) for letter in "abcd"]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.close()
    codes = [writer.wait(timeout=30) for writer in writers]
    assert sorted(codes) == [0, 7, 7, 7]
    assert target.read_text(encoding="utf-8") == "abcd"[codes.index(0)] * 1000
    assert names(tmp_path) == ["out.json"]


def test_a_symbolic_link_is_written_through(tmp_path: Path) -> None:
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_text("old", encoding="utf-8")
    link.symlink_to(real)
    with files.atomic_text(link) as handle:
        handle.write("new")
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8") == "new"


def test_a_file_where_a_folder_is_needed_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot create folder") as caught, files.atomic_text(tmp_path / "file" / "out.csv"):
        pass
    assert caught.value.hint == "something else stands at that path: choose another"


def test_a_folder_where_the_file_should_be_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(OutputError, match="cannot write"), files.atomic_text(tmp_path / "out.csv") as handle:
        handle.write("x")
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.usefixtures("umask_027")
@pytest.mark.parametrize("mode", [0o600, 0o444, 0o664, 0o755, 0o4775])
def test_a_file_that_replaces_another_has_its_permissions(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "out.csv"
    for write, content in ((files.atomic_text, "new"), (files.atomic_bytes, b"newer")):
        target.touch()
        target.chmod(mode)
        before = target.stat().st_ino
        with write(target) as handle:  # type: ignore[operator]
            handle.write(content)
        assert target.stat().st_ino != before
        # What lets a program run as the owner of its file is not for the text that comes after it.
        assert stat.S_IMODE(target.stat().st_mode) == mode & 0o777


@pytest.mark.usefixtures("umask_027")
@pytest.mark.parametrize("replace", [True, False])
def test_new_files_have_the_permissions_of_the_umask(tmp_path: Path, replace: bool) -> None:
    target = tmp_path / "out.csv"
    with files.atomic_text(target, replace=replace) as handle:
        handle.write("x")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_only_temps_of_dead_runs_are_cleaned(tmp_path: Path, dead_pid: int) -> None:
    kept = [
        f".out.csv.{os.getpid()}.tmp",
        f"out.csv.{dead_pid}.tmp",
        f".out.csv.{dead_pid}.tmp.bak",
        f".{dead_pid}.tmp",
        ".out.csv.x1.tmp",
        "out.csv",
    ]
    for name in (*kept, f".out.csv.{dead_pid}.tmp", f".universe.json.{dead_pid}.tmp"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / f".folder.{dead_pid}.tmp").mkdir()
    (tmp_path / f".link.{dead_pid}.tmp").symlink_to(tmp_path / "out.csv")
    assert files.clean_temps(tmp_path) == 2
    assert names(tmp_path) == sorted((*kept, f".folder.{dead_pid}.tmp", f".link.{dead_pid}.tmp"))


def test_the_temps_that_a_killed_run_leaves_are_recognised(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom cryptoservice import files\n"
        "with files.atomic_text(Path(sys.argv[1])) as handle:\n"
        "    handle.write('half')\n    handle.flush()\n    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "out.csv")], check=False)
    assert len(names(tmp_path)) == 1
    assert files.clean_temps(tmp_path) == 1
    assert names(tmp_path) == []


def test_the_temps_of_another_machine_are_left_to_it(tmp_path: Path) -> None:
    """Several machines may export into one folder: that a process does not live here says nothing of one over there."""
    program = (
        "import os, socket, sys\nfrom pathlib import Path\nsocket.gethostname = lambda: 'another-machine'\n"
        "from cryptoservice import files\nwith files.atomic_text(Path(sys.argv[1])) as handle:\n"
        "    handle.write('half')\n    handle.flush()\n    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "out.csv")], check=False)
    left = names(tmp_path)
    assert len(left) == 1
    assert files.clean_temps(tmp_path) == 0
    # One that has not been written to for a day is nobody's any more: containers have another name each time.
    yesterday = time.time() - 25 * 3600
    os.utime(tmp_path / left[0], (yesterday, yesterday))
    assert files.clean_temps(tmp_path) == 1
    assert names(tmp_path) == []


def test_cleaning_a_folder_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    assert files.clean_temps(tmp_path / "absent") == 0


def test_is_running_knows_the_living_and_the_dead(dead_pid: int) -> None:
    assert files.is_running(os.getpid())
    assert files.is_running(1)
    assert not files.is_running(dead_pid)
    assert files.is_running(10**30)


def test_refuse_folder(tmp_path: Path) -> None:
    files.refuse_folder(tmp_path / "absent", "the output")
    with pytest.raises(UsageError, match=r"the output .* is a folder"):
        files.refuse_folder(tmp_path, "the output")


def test_hints_follow_the_error_number() -> None:
    hints = {
        errno.ENOSPC: "free some space and run it again",
        errno.EDQUOT: "free some space and run it again",
        errno.EFBIG: "free some space and run it again",
        errno.EACCES: "check the permissions of the file and its folder",
        errno.EPERM: "check the permissions of the file and its folder",
        errno.EROFS: "check the permissions of the file and its folder",
        errno.ENOTDIR: "something else stands at that path: choose another",
        errno.EISDIR: "something else stands at that path: choose another",
        errno.EEXIST: "something else stands at that path: choose another",
        errno.ENAMETOOLONG: "check the path",
    }
    assert {number: files.hint_for(OSError(number, "words")) for number in hints} == hints


def test_an_error_is_described_in_the_words_of_the_system_without_the_path() -> None:
    assert files.describe(OSError(errno.ENOSPC, "No space left on device", "/a/B")) == "no space left on device"
    assert files.describe(OSError("Something Else")) == "something else"


def test_an_unusual_error_of_a_link_is_an_output_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", broken)
    words = r"cannot write .*out\.json: input/output error"
    with pytest.raises(OutputError, match=words), files.atomic_text(tmp_path / "out.json", replace=False) as handle:
        handle.write("x")
    assert names(tmp_path) == []


def test_removing_says_whether_there_was_a_file(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("x", encoding="utf-8")
    assert files.remove(tmp_path / "old.csv")
    assert not files.remove(tmp_path / "old.csv")
    with pytest.raises(OutputError, match=f"cannot remove the stale file {tmp_path}: "):
        files.remove(tmp_path)


def test_a_name_that_is_not_utf8_is_shown_with_replacement_marks() -> None:
    assert files.name_of(Path("data/币安.db")) == "data/币安.db"
    # Python reads a byte of a file name that is not UTF-8 as half of a character pair.
    assert files.name_of(Path("caf\udce9.db")) == "caf\ufffd.db"


def test_a_place_is_checked_without_creating_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.require_place(tmp_path / "out.json")
    files.require_place(tmp_path / "deep" / "er" / "out.json")
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError) as caught:
        files.require_place(tmp_path / "file" / "out.json")
    assert str(caught.value) == (
        f"cannot write {tmp_path}/file/out.json: {tmp_path}/file is not a folder; "
        "something else stands at that path: choose another"
    )
    # Permissions do not stop the root user, who may run the tests.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match=f"no permission to write into {tmp_path};") as denied:
        files.require_place(tmp_path / "deep" / "out.json")
    assert denied.value.hint == "check the permissions of that folder"


def test_a_name_that_no_file_can_have_is_a_usage_error(tmp_path: Path) -> None:
    files.check_name(tmp_path / "absent" / "file", "the output")
    for name, reason in (("nul\0byte", "it holds a NUL"), ("x" * 300, "file name too long")):
        with pytest.raises(UsageError, match=r"^the output .*its name cannot be used") as caught:
            files.check_name(Path(name), "the output")
        assert caught.value.message.endswith(f"({reason})")
        assert len(caught.value.message) < 200


def test_threads_that_write_different_files_do_not_disturb_each_other(tmp_path: Path) -> None:
    def write(index: int) -> None:
        with files.atomic_text(tmp_path / f"{index}.csv", durable=False) as handle:
            handle.write(str(index) * 1000)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == {
        f"{index}.csv": str(index) * 1000 for index in range(8)
    }
