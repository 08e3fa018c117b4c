"""Make the man page of the command from its help: ``python docs/make_man.py > persist.1``."""

from __future__ import annotations

import argparse
import sys

from persist import __version__
from persist._cli import parser


def page() -> str:
    """Return the page in the format of man(7)."""
    whole = parser()
    lines = [
        f'.TH PERSIST 1 "" "persist {__version__}" "User Commands"',
        ".SH NAME",
        "persist \\- open, upgrade and convert experiment files",
        ".SH SYNOPSIS",
        ".B persist",
        "VERB [options]",
        ".SH DESCRIPTION",
        _escaped(whole.description or ""),
        ".SH VERBS",
    ]
    for action in whole._actions:  # argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                lines += _verb(name, below)
    lines += [".SH EXIT STATUS", _escaped(whole.epilog or "")]
    return "\n".join(lines) + "\n"


def _verb(name: str, parser: argparse.ArgumentParser) -> list[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    lines = [f".SS {name}", ".nf", _escaped(usage), ".fi", ".PP", ".nf"]
    lines += [_escaped(parser.description or ""), ".fi"]
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help is argparse.SUPPRESS:
            continue
        names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        value = (
            f" {action.metavar}"
            if action.option_strings and isinstance(action.metavar, str)
            else ""
        )
        lines += [
            ".TP",
            f".B {_escaped(names + value)}",
            _escaped(" ".join((action.help or "").split())),
        ]
    return lines


def _escaped(text: str) -> str:
    """Text in which no character has a meaning for troff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("%%", "%")
    return "\n".join(f"\\&{line}" if line[:1] in ("'", ".") else line for line in text.split("\n"))


if __name__ == "__main__":
    sys.stdout.write(page())
