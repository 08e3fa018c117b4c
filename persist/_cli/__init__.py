"""The command ``persist``. Each verb is one module of this package, discovered by listing it.

The module of a verb has a docstring, whose first line is the help; ``add(parser)``, which declares
its arguments; and ``run(args)``, which returns the exit status. Nothing beyond argparse is imported
before a verb runs.

Exit status: 0 success; 1 some file failed or nothing matched, which was reported; 2 the command was
not understood; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from persist._cli._misspelt import unknown_options, unknown_verb
from persist._runtime.discovery import modules_in

__all__ = ["main", "parser", "verb_names"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit status."""
    whole = parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    fault = unknown_verb(arguments, verb_names())
    if fault:
        whole.error(fault)
    args, unknown = whole.parse_known_args(arguments)
    if unknown:
        whole.error(unknown_options(unknown, _options(whole, args)))
    if args.verb is None:
        whole.print_help()
        return 2
    verb = importlib.import_module(f"{__name__}.{args.verb}")
    try:
        return int(verb.run(args))
    except KeyboardInterrupt:
        print("persist: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has ended: `persist inspect ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command, with every verb."""
    from persist import __version__

    whole = argparse.ArgumentParser(
        prog="persist",
        description="Open, upgrade and convert experiment files, without the frameworks that wrote them.",
        epilog="Exit status: 0 success, 1 some file failed, 2 the command was not understood.",
    )
    whole.add_argument("--version", action="version", version=f"persist {__version__}")
    verbs = whole.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name in verb_names():
        module = importlib.import_module(f"{__name__}.{name}")
        text = (module.__doc__ or "").strip()
        added = verbs.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add(added)
    return whole


def _options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> set[str]:
    """Return the options of the verb that was given, and of a verb below it."""
    found: set[str] = set()
    todo = [parser]
    while todo:
        for action in todo.pop()._actions:  # argparse has no public list of them
            found.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                chosen = action.choices.get(str(getattr(args, action.dest, "")))
                todo += [] if chosen is None else [chosen]
    return found


def verb_names() -> list[str]:
    """Return the verbs: the modules of this package whose names do not begin with ``_``."""
    return [name for name in modules_in(__path__) if not name.startswith("_")]
