"""Print the script with which a shell completes verbs, options and files.

  bash:  eval "$(persist completion bash)"                    in ~/.bashrc
  zsh:   persist completion zsh > "${fpath[1]}/_persist"
  fish:  persist completion fish > ~/.config/fish/completions/persist.fish

The script is made by shtab, of the extra completion, and needs neither shtab nor Python when it completes.
"""

from __future__ import annotations

import argparse

__all__ = ["add", "run"]

_SHELLS = ("bash", "zsh", "fish")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", choices=_SHELLS, help="the shell")


def run(args: argparse.Namespace) -> int:
    """Print the script; 1 if shtab is not installed."""
    import importlib
    import sys

    from persist._cli import parser

    try:
        shtab = importlib.import_module("shtab")
    except ImportError:
        print(
            "persist: the script is made by shtab, which is not installed. "
            "Install it: pip install 'persist-state[completion]'.",
            file=sys.stderr,
        )
        return 1
    whole = parser()
    _files(whole, shtab.FILE)
    print(shtab.complete(whole, shell=args.shell))
    return 0


def _files(parser: argparse.ArgumentParser, files: object) -> None:
    """Mark the arguments that are files, which shtab cannot know."""
    for action in parser._actions:  # argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _files(below, files)
        elif any(
            word in str(action.metavar) for word in ("FILE", "PATH", "SRC", "DIR", "OUT", "PAGE")
        ):
            action.complete = files  # type: ignore[attr-defined]
