"""Completion as the shells see it: what a script offers for a line that somebody has begun to type."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from tests.e2e.conftest import ROOT

# Calls the function that the script has registered, the way readline does: once for each line, with the line cut into words.
_BASH_LOOP = r"""
source "$1"
function=$(complete -p "$2") || exit 1
function=${function##*-F } function=${function%% *}
while IFS= read -r line; do
    eval "COMP_WORDS=($line)"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    "$function" "$2" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    for word in "${COMPREPLY[@]}"; do printf '%s\n' "$word"; done
    echo "--end--"
done
"""


def script(shell: str) -> str:
    """What the real command prints for a shell."""
    command = [sys.executable, "-m", "cryptoservice", "--print-completion", shell]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def bash_offers(source: Path, lines: Iterable[list[str]], folder: Path, options: str = "") -> list[list[str]]:
    """COMPREPLY for each line, given as words of which the last one stands at the cursor."""
    typed = "".join(" ".join(map(shlex.quote, words)) + "\n" for words in lines)
    shell = ["bash", "--norc", "--noprofile", "-c", options + _BASH_LOOP, "bash", str(source), "cryptoservice"]
    done = subprocess.run(shell, cwd=folder, input=typed, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return [block.splitlines() for block in done.stdout.split("--end--\n")[:-1]]


# Around the shell's own compadd: write down what is offered.
_ZSH_SETUP = r"""
PS1= PS2= LISTMAX=10000
autoload -Uz compinit && compinit -u -D
@LOAD@
compadd() {
    [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]] && { builtin compadd "$@"; return }
    local -a hits
    builtin compadd -O hits "$@"
    (( $#hits )) && print -rl -- $hits >> @OUT@
    builtin compadd "$@"
}
capture() { zle list-choices; print -r -- --end-- >> @OUT@; BUFFER= }
zle -N capture
bindkey '^T' capture
print -r -- --ready-- >> @OUT@
"""


class Zsh:
    """An interactive zsh on a terminal of its own, started without anybody's configuration."""

    def __init__(self, load: str, folder: Path) -> None:
        self._out = folder / ".offers"
        self._out.touch()
        self._seen = 0
        setup = _ZSH_SETUP.replace("@LOAD@", load).replace("@OUT@", shlex.quote(str(self._out)))
        (folder / ".setup").write_text(setup)
        self._shell = Typing([zsh(), "-f", "-i"], folder)
        self._shell.type("source .setup\n")
        self._wait_for("--ready--")

    def offers(self, line: str) -> list[str]:
        """What is offered at the end of this line."""
        self._shell.type(line + "\x14")
        return self._wait_for("--end--")

    def _wait_for(self, mark: str) -> list[str]:
        """The lines that were written down since the last time, once the mark is among them."""
        written = self._shell.wait_for(self._out, lambda text: text[self._seen :].endswith(mark + "\n"))
        new, self._seen = written[self._seen :], len(written)
        return new.splitlines()[:-1]

    def close(self) -> None:
        """End the shell."""
        self._shell.close()


def zsh() -> str:
    """The zsh of this machine."""
    found = shutil.which("zsh")
    assert found, "no zsh on this machine: the slow suite completes in a real one, install the package `zsh`"
    return found


class Typing:
    """A shell on a pseudo-terminal, and somebody who types."""

    def __init__(self, command: list[str], folder: Path) -> None:
        ours, theirs = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "TERM": "vt100", "HOME": str(folder), "PS1": "> ", "LC_ALL": "C.UTF-8"}
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self._terminal = ours
        os.set_blocking(ours, False)
        self._shown = b""

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._terminal, keys.encode())

    def wait_for(self, file: Path, done: Callable[[str], bool]) -> str:
        """What a file holds, once it is what was waited for."""
        deadline = time.monotonic() + 20
        while True:
            # A terminal that nobody reads makes its writer wait.
            with suppress(BlockingIOError):
                self._shown += os.read(self._terminal, 65_536)
            text = file.read_text() if file.exists() else ""
            if done(text):
                return text
            assert time.monotonic() < deadline, (text, self._shown.decode(errors="replace"))
            time.sleep(0.01)

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)
