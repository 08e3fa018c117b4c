"""Names of members: natural paths, escaped where ZIP, file systems or NumPy do not allow them."""

from __future__ import annotations

import re

from persist._container.layout import GRAPH, MANIFEST

__all__ = ["are_plain", "distinct", "member_name", "path_of"]

_LONGEST = 4096
_PLAIN = re.compile(r"[\w ()*+,:;<=>@\[\]^{|}~!#$&'?\"-][^%\\\x00\ud800-\udfff]*")
_AWKWARD = re.compile(r"%(?=[0-9A-Fa-f]{2})|[\\\x00\ud800-\udfff]")
_DOTS = re.compile(r"(?<![^/])(\.{1,2})(?![^/])")
_ESCAPED = re.compile(r"%ED%[AB][0-9A-F]%[89AB][0-9A-F]|%[0-7][0-9A-F]")
_RESERVED = (".persist/", ".generations/")


def member_name(path: str, number: int = 0) -> str:
    """Return the name of the member that holds the array of a path.

    Args:
        path: its natural path.
        number: of the member, where the name is so long that it is cut.
    """
    if not (
        len(path) < _LONGEST // 4
        and _PLAIN.fullmatch(path)
        and "/." not in path
        and not path.endswith(".npy")
        and path not in (MANIFEST, GRAPH)
    ):
        path = _escaped(path, number)
    return f"{path}.npy"


def are_plain(paths: list[str]) -> bool:
    """Whether all paths are their members' names as they are; asked of many at once."""
    if max(map(len, paths), default=0) >= _LONGEST // 4:
        return False
    text = "\n".join(["", *paths, ""])
    return (
        _AWKWARD.search(text) is None
        and text.count("\n") == len(paths) + 1
        and not any(part in text for part in ("\n\n", "\n/", "\n.", "/.", ".npy\n"))
        and f"\n{MANIFEST}\n" not in text
        and f"\n{GRAPH}\n" not in text
    )


def _escaped(path: str, number: int) -> str:
    reserved = path.startswith(_RESERVED)
    special = path in (MANIFEST, GRAPH)
    path = _AWKWARD.sub(_percent, path)
    if path.startswith("/"):
        path = f"%2F{path[1:]}"
    path = _DOTS.sub(lambda dots: "%2E" * len(dots[1]), path)
    if path.endswith(".npy"):
        path = f"{path[:-4]}%2Enpy"
    if reserved:
        path = f"%2E{path[1:]}"
    elif special:
        path = path.replace(".", "%2E")
    data = path.encode()
    if len(data) > _LONGEST:
        path = f"{data[:_LONGEST].decode(errors='ignore')}~{number}"
    return path


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def path_of(name: str) -> str:
    """Return the path from which `member_name` made the name of a member; cut where that was cut."""
    return _ESCAPED.sub(_plain, name.removesuffix(".npy"))


def _plain(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "surrogatepass")


def distinct(steps: list[str]) -> list[str]:
    """Append ``~2`` to the second of two equal steps, as in natural paths."""
    if len(set(steps)) == len(steps):
        return steps
    taken: dict[str, int] = {}
    result = []
    for step in steps:
        count = taken[step] = taken.get(step, 0) + 1
        result.append(step if count == 1 else f"{step}~{count}")
    return result
