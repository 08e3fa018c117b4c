"""The nearest word to one that was not understood."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["nearest", "unknown_verb"]


def nearest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the known words that are most like one, the best first."""
    import difflib

    return difflib.get_close_matches(word, list(known), most, 0.6)


def unknown_verb(arguments: Sequence[str], verbs: Sequence[str]) -> str:
    """Return what is wrong with the verb of a command line, and which is meant; empty if nothing is."""
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if verb is None or verb in verbs or arguments[0] != verb:
        return ""
    meant = nearest(verb, verbs, 1)
    hint = f" Did you mean {meant[0]!r}?" if meant else ""
    return f"there is no verb {verb!r}.{hint} The verbs are {', '.join(verbs)}."
