"""Dates of the tags of a project's git repository."""

from __future__ import annotations

import subprocess

__all__ = ["date_of_tag"]


def date_of_tag(name: str) -> str:
    """Return the day of the commit of a tag, in the repository of the working directory; "" for none."""
    words = ["git", "log", "-1", "--format=%cs", f"refs/tags/{name}", "--"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
