"""Completion scripts for bash and zsh, made from the argparse tree."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptoservice.models import Freq

# What the metavar of a flag says about its value; any other one stands for free text, for which nothing is offered.
_FILES, _FOLDERS, _TEXT = "/files", "/folders", "/text"
_BY_METAVAR = {"FILE": _FILES, "DIR": _FOLDERS, "FREQ": " ".join(freq.value for freq in Freq)}


@dataclass(frozen=True)
class _Flag:
    """One flag. `rivals` are the names of which only one is wanted, its own among them."""

    names: Sequence[str]
    rivals: Sequence[str]
    help: str | None
    metavar: str
    value: str
    """Words to choose from, one of the kinds above, or nothing when the flag takes no value."""


@dataclass(frozen=True)
class _Command:
    """A node of the tree; `path` are the words that lead to it."""

    path: tuple[str, ...]
    flags: Sequence[_Flag]
    children: dict[str, str]
    """Help by word."""


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What a shell has to read to complete this parser's command line; `shell` is bash or zsh."""
    return {"bash": _bash, "zsh": _zsh}[shell](parser.prog, list(_commands(parser, ())))


def _commands(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[_Command]:
    areas = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    helps = {choice.dest: choice.help or "" for area in areas for choice in area._choices_actions}
    yield _Command(path, [_flag(parser, action) for action in parser._actions if action.option_strings], helps)
    for area in areas:
        for word, child in area.choices.items():
            yield from _commands(child, (*path, word))


def _flag(parser: argparse.ArgumentParser, action: argparse.Action) -> _Flag:
    group = [group._group_actions for group in parser._mutually_exclusive_groups if action in group._group_actions]
    rivals = [name for rival in (group[0] if group else [action]) for name in rival.option_strings]
    hidden = action.help == argparse.SUPPRESS
    told = None if hidden or action.help is None else parser._get_formatter()._expand_help(action)
    metavar = str(action.metavar or action.dest.upper())
    value = "" if action.nargs == 0 else " ".join(action.choices) if action.choices else _BY_METAVAR.get(metavar, _TEXT)
    return _Flag(action.option_strings, rivals, told, metavar, value)


_BASH = """\
# bash completion for @PROG@, written by `@PROG@ --print-completion bash`

# What may stand after a command and one of its flags: words, a kind of path, free text; empty when the flag takes no value.
@FUNC@_value() {
    case $1 in
@VALUES@
        *) want= ;;
    esac
}

@FUNC@() {
    local cur=${COMP_WORDS[COMP_CWORD]} at= want= used=' ' prefix= word slot match i
    local IFS=$' \\t\\n'
    local -a words slots
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            continue
        elif [[ $want ]]; then
            want=
        elif [[ $word == -* ]]; then
            used+="${word%%=*} "
            [[ $word == *=* ]] || @FUNC@_value "$at $word"
        else
            case "$at $word" in
                @PATHS@) at+=" $word" ;;
            esac
        fi
    done
    # Most shells hand over --flag=value as three words, those without = in COMP_WORDBREAKS as one.
    if [[ $cur == = || ${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
        cur=${cur#=}
        want=${want:-/text}
    elif [[ $cur == --*=* && ! $want ]]; then
        @FUNC@_value "$at ${cur%%=*}"
        [[ $COMP_WORDBREAKS == *=* ]] || prefix="${cur%%=*}="
        cur=${cur#*=}
        want=${want:-/text}
    fi

    case $at in
@COMMANDS@
    esac
    COMPREPLY=()
    if [[ $want == /files || $want == /folders ]]; then
        # Names come quoted as they were typed; the shell quotes again what it inserts.
        cur=${cur#[\\"\\']}
        cur=${cur//\\\\/}
        compopt -o filenames 2>/dev/null
        [[ $want == /files ]] && want=-f || want=-d
        while IFS= read -r match; do
            COMPREPLY+=("$prefix$match")
        done < <(compgen "$want" -- "$cur")
        return
    elif [[ $want == /text ]]; then
        return
    elif [[ $want ]]; then
        words=($want)
    elif [[ $cur == -* || ${#words[@]} -eq 0 ]]; then
        words=()
        for slot in "${slots[@]}"; do
            for word in $slot; do
                [[ $used == *" $word "* ]] && continue 2
            done
            words+=($slot)
        done
    fi
    for word in "${words[@]}"; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$prefix$word")
    done
}

complete -F @FUNC@ @PROG@
"""


def _bash(prog: str, commands: Sequence[_Command]) -> str:
    def case(labels: Sequence[str], what: str) -> str:
        return "        " + " | \\\n        ".join(map(shlex.quote, labels)) + f") {what} ;;"

    places: dict[str, list[str]] = {}
    offers = []
    for command in commands:
        at = "".join(f" {word}" for word in command.path)
        # Flags that exclude each other fill one slot: none is offered once one of them is there.
        slots = dict.fromkeys(" ".join(flag.rivals) for flag in command.flags if flag.help is not None)
        offers.append(case([at], f"words=({' '.join(command.children)}) slots=({' '.join(map(shlex.quote, slots))})"))
        for flag in command.flags:
            if flag.value:
                places.setdefault(flag.value, []).extend(f"{at} {name}" for name in flag.names)
    values = "\n".join(case(labels, f"want={shlex.quote(value)}") for value, labels in places.items())
    paths = " | ".join(shlex.quote("".join(f" {word}" for word in command.path)) for command in commands if command.path)
    return _filled(_BASH, prog, VALUES=values, PATHS=paths, COMMANDS="\n".join(offers))


_ZSH = """\
#compdef @PROG@
# zsh completion for @PROG@, written by `@PROG@ --print-completion zsh`

@FUNCTIONS@
# Read by the completion system it is the function's body; sourced it makes the function known.
if [[ $funcstack[1] == @FUNC@ ]]; then
    @FUNC@ "$@"
else
    compdef @FUNC@ @PROG@
fi
"""
# A command that takes other commands hands the rest of the line on to their functions.
_ZSH_BRANCH = """\
@NAME@() {
    local curcontext=$curcontext state ret=1
    local -a line commands=(
        @WORDS@
    )
    local -A opt_args
    _arguments -C -A "-*" \\
        @SPECS@ \\
        '1: :->word' \\
        '*:: :->rest' && ret=0
    case $state in
        word) _describe -t commands command commands && ret=0 ;;
        rest) (( $+functions[@NAME@_$line[1]] )) && @NAME@_$line[1] && ret=0 ;;
    esac
    return ret
}
"""
_ZSH_LEAF = """\
@NAME@() {
    _arguments \\
        @SPECS@
}
"""


def _zsh(prog: str, commands: Sequence[_Command]) -> str:
    functions = []
    for command in commands:
        specs = [_zsh_spec(flag, name) for flag in command.flags if flag.help is not None for name in flag.names]
        words = [f"{word}:{_zsh_text(told)}" for word, told in command.children.items()]
        functions.append(
            _filled(
                _ZSH_BRANCH if words else _ZSH_LEAF,
                prog,
                NAME="_".join(("@FUNC@", *command.path)),
                SPECS=" \\\n        ".join(map(shlex.quote, specs)),
                WORDS="\n        ".join(map(shlex.quote, words)),
            )
        )
    return _filled(_ZSH, prog, FUNCTIONS="\n".join(functions))


def _zsh_spec(flag: _Flag, name: str) -> str:
    actions = {_FILES: "_files", _FOLDERS: "_files -/", _TEXT: " "}
    value = f":{_zsh_text(flag.metavar)}:{actions.get(flag.value, f'({flag.value})')}" if flag.value else ""
    assigned = "=" if flag.value and name.startswith("--") else ""
    rivals = f"({' '.join(flag.rivals)})" if len(flag.rivals) > 1 else ""
    return f"{rivals}{name}{assigned}[{_zsh_text(flag.help or '')}]{value}"


def _zsh_text(text: str) -> str:
    return re.sub(r"([\\\[\]:])", r"\\\1", text)


def _filled(template: str, prog: str, **values: str) -> str:
    function = "_" + re.sub(r"\W", "_", prog)
    for name, value in {**values, "FUNC": function, "PROG": prog}.items():
        template = template.replace(f"@{name}@", value)
    return template
