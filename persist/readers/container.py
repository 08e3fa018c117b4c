"""persist's own container: a ZIP of NPY members and a graph in JSON.

Written by  ``persist.save`` (container versions 1 and 2).
Evidence    ``docs/container.md``, which specifies it byte by byte.
Traps       It is a ZIP of ``.npy`` members, like the files of ``numpy.savez``.
            NumPy alone shows the stored arrays only: views of them and repeated
            references to an array are in the graph.
Gives       The tree that was saved; arrays are views of the memory map, or lazy
            if they have to be verified first.
"""

from __future__ import annotations

from typing import IO, Any

from persist import _container
from persist._wire.base.source import Source
from persist.errors import DamagedFileError
from persist.readers.base import Content, Options, Reader

__all__ = ["ContainerReader"]


class ContainerReader(Reader):
    """The container, of all versions."""

    name = "persist"
    suffixes = (".persist",)
    refines = ("npz",)
    is_sure = True
    writes = True

    def claims(self, source: Source) -> str | None:
        return _container.claim(source)

    def read(self, source: Source, options: Options) -> Content:
        from persist._container.reading.decode import decode

        if options.salvage and (content := _of_damaged(source, options)) is not None:
            return content
        store = _container.Store(source, options.verify)
        manifest = store.manifest

        def make(rows: Any = None) -> Any:
            return decode(store.graph(), store, source.limits, source.name, rows)

        return Content(
            make_tree=make,
            structure=_structure(manifest),
            writer=_writer(manifest),
            globals=set(manifest["globals"]),
            find=None if manifest["globals"] else store.array,  # packs may see records otherwise
            with_rows=make,
            notes=store.notes,
        )

    def write(self, tree: object, target: IO[bytes], **options: Any) -> None:
        _container.write(tree, target, **options)


def _structure(manifest: dict[str, Any]) -> dict[str, Any]:
    found = {key: manifest[key] for key in ("metadata", "schemas", "globals", "version")}
    return found | {key: manifest[key] for key in ("history", "capsule") if key in manifest}


def _of_damaged(source: Source, options: Options) -> Content | None:
    """What is whole of a container that has a fault; None of an intact one."""
    from persist._container.reading.salvage import salvaged

    try:
        if not any(_container.Store(source, options.verify).faults()):
            return None
    except DamagedFileError:
        pass
    damage: list[str] = []
    tree, manifest = salvaged(source, damage)
    structure: dict[str, Any] = {"metadata": None, "schemas": [], "globals": [], "version": None}
    structure |= {
        key: manifest[key] for key in (*structure, "history", "capsule") if key in manifest
    }
    return Content(
        tree,
        structure=structure,
        writer=_writer({"writer": manifest.get("writer", {}), "schemas": structure["schemas"]}),
        damage=damage,
        globals=set(structure["globals"]),
    )


def _writer(manifest: dict[str, Any]) -> dict[str, str]:
    """Releases: of persist, Python and NumPy, and of the packages of the classes in the file."""
    said = {str(name): str(release) for name, release in manifest["writer"].items()}
    for entry in manifest["schemas"] if isinstance(manifest["schemas"], list) else ():
        if isinstance(entry, dict) and entry.get("package") and entry.get("release"):
            said.setdefault(str(entry["package"]), str(entry["release"]))
    return said
