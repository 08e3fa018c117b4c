"""Suggest the nearest known word for a misspelt verb, option or path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["nearest", "unknown_options", "unknown_verb"]


def nearest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the known words that are most similar, the best first."""
    import difflib

    return difflib.get_close_matches(word, list(known), most, 0.6)


def unknown_verb(arguments: Sequence[str], verbs: Sequence[str]) -> str:
    """Return an error text for an unknown verb, with a suggestion; "" if the verb is known."""
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if verb is None or verb in verbs or arguments[0] != verb:
        return ""
    meant = nearest(verb, verbs, 1)
    hint = f" Did you mean {meant[0]!r}?" if meant else ""
    return f"there is no verb {verb!r}.{hint} The verbs are {', '.join(verbs)}."


def unknown_options(words: Sequence[str], options: Iterable[str]) -> str:
    """Return an error text for words that a verb does not take, with suggestions for options.

    Args:
        words: what was left over.
        options: the options of the verb.
    """
    options = list(options)
    hints = []
    for word in words:
        name = word.partition("=")[0]
        near = nearest(name, options, 1) if name.startswith("-") else []
        hints += [f" Did you mean {near[0]!r}?"] if near else []
    return f"unrecognized arguments: {' '.join(words)}.{''.join(hints)}"
