"""Print a script for bash, zsh or fish that completes commands, flags and choices; files are completed as usual.

The script holds every command and flag, so that a shell need not start this program while a line is typed.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tinygrad_llm.cli.parser import Parser

SHELLS = ("bash", "zsh", "fish")
HOW = """To use it in new shells:
  bash: echo 'eval "$(tinygrad-llm completion bash)"' >> ~/.bashrc
  zsh:  echo 'eval "$(tinygrad-llm completion zsh)"' >> ~/.zshrc
  fish: tinygrad-llm completion fish \\
            > ~/.config/fish/completions/tinygrad-llm.fish"""

# In bash and zsh: the longest known page that the words name, then what may follow the previous word.
BASH = """_tinygrad_llm() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} page="" one words=""
    for one in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "${{page:+$page }}$one" in
            {pages}) page="${{page:+$page }}$one" ;;
        esac
    done
    COMPREPLY=()
    case "$page $previous" in
{values}
    esac
    case "$page" in
{words}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _tinygrad_llm tinygrad-llm
"""
ZSH = """#compdef tinygrad-llm
_tinygrad_llm() {{
    local previous=${{words[CURRENT-1]}} page="" one
    local -a found
    for one in "${{(@)words[2,CURRENT-1]}}"; do
        case "${{page:+$page }}$one" in
            ({pages}) page="${{page:+$page }}$one" ;;
        esac
    done
    case "$page $previous" in
{values}
    esac
    case "$page" in
{words}
    esac
    compadd -a found
    _files
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit }}
compdef _tinygrad_llm tinygrad-llm
"""


@dataclass(frozen=True)
class Page:
    """What can follow the command `path`: subcommands and flags with their help, and the choices of flags."""

    path: tuple[str, ...]
    commands: dict[str, str]
    flags: dict[str, str]
    takes_value: frozenset[str]
    choices: dict[str, tuple[str, ...]]

    @property
    def words(self) -> str:
        return " ".join([*self.commands, *self.flags])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = HOW
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")


def run(arguments: argparse.Namespace) -> int:
    from tinygrad_llm.cli import build_parser

    pages = list(pages_of(build_parser()))
    print(fish_script(pages) if arguments.shell == "fish" else case_script(arguments.shell, pages), end="")
    return 0


def pages_of(parser: Parser, path: tuple[str, ...] = ()) -> Iterator[Page]:
    """The page of `parser` and those of all commands below it."""
    summaries: dict[str, str] = {}
    flags, takes_value, choices = {}, set(), {}
    for action in parser.actions():
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
        elif action.help is not argparse.SUPPRESS:
            for flag in (flag for flag in action.option_strings if flag.startswith("--")):
                flags[flag] = " ".join(str(action.help).split())
                takes_value |= {flag} if action.nargs != 0 and not _is_switch(action) else set()
                if named := _choices_of(action):
                    choices[flag] = named
    yield Page(path, summaries, flags, frozenset(takes_value), choices)
    for name, inner in parser.subcommands().items():
        yield from pages_of(inner, (*path, name))


def case_script(shell: str, pages: list[Page]) -> str:
    """A function for bash or zsh in which `case` finds the page, and then the words."""
    bash = shell == "bash"
    values, words = [], []
    for page in pages:
        name = " ".join(page.path)
        for flag in sorted(page.takes_value):
            named = " ".join(page.choices.get(flag, ()))
            if bash:
                found = f'COMPREPLY=($(compgen -W "{named}" -- "$word")); ' if named else ""
                values.append(f"        {shlex.quote(f'{name} {flag}')}) {found}return ;;")
            else:
                found = f"compadd {named}" if named else "_files"
                values.append(f"        ({shlex.quote(f'{name} {flag}')}) {found}; return ;;")
        follow = f'words="{page.words}"' if bash else f"found=({page.words})"
        words.append(f"        {'' if bash else '('}{shlex.quote(name)}) {follow} ;;")
    names = "|".join(shlex.quote(" ".join(page.path)) for page in pages if page.path)
    template = BASH if bash else ZSH
    return template.format(pages=names, values="\n".join(values), words="\n".join(words))


def fish_script(pages: list[Page]) -> str:
    """One `complete` line for each command and flag, shown where the words before it name its page."""
    lines = ["function __tinygrad_llm_page", "    set -l words (commandline -opc)", "    set -e words[1]"]
    lines += ["    set -l found"]
    lines += ["    for word in $words", '        switch (string join " " $found $word)']
    lines += ["            case " + " ".join(shlex.quote(" ".join(page.path)) for page in pages if page.path)]
    lines += ["                set -a found $word", "        end", "    end", '    test "$found" = "$argv"', "end"]
    for page in pages:
        condition = shlex.quote("__tinygrad_llm_page" + "".join(f" {word}" for word in page.path))
        start = f"complete -c tinygrad-llm -n {condition}"
        for name, summary in page.commands.items():
            lines.append(f"{start} -f -a {name} -d {_fish_text(summary)}")
        for flag, summary in page.flags.items():
            value = " -r" * (flag in page.takes_value)
            if flag in page.choices:
                value = f" -x -a {_fish_text(' '.join(page.choices[flag]))}"
            lines.append(f"{start} -l {flag[2:]}{value} -d {_fish_text(summary)}")
    return "\n".join(lines) + "\n"


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _is_switch(action: argparse.Action) -> bool:
    return isinstance(action, argparse.BooleanOptionalAction)


def _choices_of(action: argparse.Action) -> tuple[str, ...]:
    """The choices of a flag: argparse's own, or those that the metavar `{a,b}` of a setting names."""
    if action.choices is not None:
        return tuple(map(str, action.choices))
    named = re.fullmatch(r"\{(.+)\}", action.metavar) if isinstance(action.metavar, str) else None
    return tuple(named[1].split(",")) if named else ()
