"""Completion as bash sees it: what a script offers for a line that somebody has begun to type."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path

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


def bash_offers(source: Path, lines: Iterable[list[str]], folder: Path) -> list[set[str]]:
    """What is offered for each line, given as words of which the last one stands at the cursor."""
    typed = "".join(" ".join(map(shlex.quote, words)) + "\n" for words in lines)
    shell = ["bash", "--norc", "--noprofile", "-c", _BASH_LOOP, "bash", str(source), "cryptoservice"]
    done = subprocess.run(shell, cwd=folder, input=typed, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return [set(block.splitlines()) for block in done.stdout.split("--end--\n")[:-1]]
