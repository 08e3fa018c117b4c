"""The job "convert": a file is written in another format, or as an older version had it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persist._api.open import open as open_file
from persist._wire.base import urls
from persist._wire.base.urls import is_url
from persist.bulk import _origin
from persist.bulk._filtering import is_wanted
from persist.bulk._formats import writer
from persist.bulk._job import Job, Outcome, Work
from persist.bulk._originals import Originals
from persist.bulk._upgrade import opening
from persist.errors import IrreversibleError, PersistError, UnknownFormatError

if TYPE_CHECKING:
    from persist._api.file import File
    from persist.registry import Registry
    from persist.schema import Schema

__all__ = ["ConvertTask"]


class ConvertTask:
    """Converts one file after the other.

    Args:
        job: its options are ``format``, ``force``, ``weights``, ``allow_partial``, ``protocol``,
            ``to_version``, ``as_of``, ``class_path``, ``exporter``, ``lossy``, ``dry_run`` and those of `open`.
        registry: what is declared.
    """

    def __init__(self, job: Job, registry: Registry) -> None:
        self._job = job
        self._registry = registry
        self._said = said = job.options
        self._to: str = said["format"]
        self._originals = (
            Originals(said["originals"], said["run"])
            if said.get("originals") and said.get("run")
            else None
        )

    def part(self) -> None:
        """Nothing is collected."""
        return

    def one(self, work: Work) -> Outcome:
        """Convert one file."""
        try:
            file = open_file(work.name, **opening(self._said))
        except UnknownFormatError:
            if work.is_named:
                raise
            return Outcome("not an experiment file", "left out", digest=self._digest(work))
        with file:
            if not is_wanted(file, self._job.filters):
                return Outcome("left out", "left out", format=file.format)
            if not work.is_named and file.format == self._to:
                return Outcome("up to date", format=file.format, digest=self._digest(work))
            target = work.target if is_url(work.target) else Path(work.target)
            is_there = _exists(target)
            if is_there and not self._said.get("force"):
                raise PersistError(
                    f"{target} exists.", file=work.name, remedy="Overwrite it with --force."
                )
            outcome = Outcome("converted", format=file.format, names=set(file._content.globals))
            outcome.digest = self._digest(work)
            if self._said.get("dry_run"):
                outcome.status = "would be converted"
                return outcome
            if self._originals is not None and isinstance(target, Path) and target.is_file():
                self._originals.keep(os.fspath(target), _origin.digest_of(target)[1])
            if isinstance(target, Path):
                target.parent.mkdir(parents=True, exist_ok=True)
            elif self._said.get("exporter"):
                raise PersistError(
                    f"--to {self._to} writes local files, and {target} is a URL.",
                    file=work.name,
                    remedy="Give a local path as --out, and copy the file.",
                )
            exporter = self._said.get("exporter")
            if exporter:
                lost = _named(exporter)(file, self._to, target)
            else:
                lost = self._written(work.name, file, target)
            outcome.note = f"  ({'; '.join(lost)})" if lost else ""
            if self._job.keeps_ledger and isinstance(target, Path) and target.is_file():
                outcome.target_size, outcome.target_digest = _origin.digest_of(target)
            return outcome

    def _digest(self, work: Work) -> str:
        return _origin.digest_of(work.name)[1] if self._job.keeps_ledger else ""

    def _written(self, name: str, file: File, target: Path | str) -> list[str]:
        """Write a file; return what is left out, in words."""
        from persist._api.provenance import origin

        protocol = self._said.get("protocol")
        options = {} if protocol is None else {"protocol": protocol}
        if self._said.get("to_version") or self._said.get("as_of"):
            return self._write_older(name, file, target, options)
        value, lost = self._value(file, target)
        converted = origin(file, _local(name)) if self._to == "persist" else None
        if _origin.save(value, target, file, format=self._to, converted=converted, **options):
            lost.append("its metadata is left out")
        return lost

    def _write_older(
        self, name: str, file: File, target: Path | str, options: dict[str, Any]
    ) -> list[str]:
        """Load a file and write it as older versions had it; return what is lost, in words.

        Raises:
            IrreversibleError: an older version cannot hold everything, and the job is not ``lossy``;
                or a step has no way back.
        """
        from persist._api.load import load
        from persist._api.provenance import appending, origin
        from persist._api.save import Older, older_tree, save, save_tree, tree_of

        known, to = self._registry, self._to
        versions, paths, protocol = self._past(file)
        value = load(name, registry=known)
        metadata = _origin.metadata_of(file)
        lost: list[str] = []

        def write(lossy: bool) -> None:
            if to == "persist":
                tree = older_tree(tree_of(value, known), Older(versions, lossy), known)
                history = appending("converted", origin(file, _local(name)), file.history)
                save_tree(
                    tree,
                    target,
                    registry=known,
                    metadata=metadata,
                    history=history,
                    versions=versions,
                )
                return
            more = {"protocol": protocol, **options} if protocol is not None else options
            save(
                value, target, registry=known, format=to, versions=versions, lossy=lossy,
                class_paths=paths, **more,
            )  # fmt: skip

        try:
            write(False)
        except IrreversibleError as error:
            losses: Any = error.facts.get("losses")
            if not losses:
                raise
            if not self._said.get("lossy"):
                error.remedy = (
                    "Write it without these: --lossy; or give the steps a way back that keeps them "
                    "(@step.downgrade)."
                )
                raise
            lost += [f"lost: {loss}" for loss in losses]
            write(True)
        if metadata is not None and to != "persist":
            lost.append("its metadata is left out")
        return lost

    def _past(self, file: File) -> tuple[dict[str, int], dict[str, str], int | None]:
        """Return the versions, class paths and pickle protocol that are asked for."""
        from persist._upgrade import past
        from persist.history.tags import date_of_tag

        versions = dict(self._said.get("to_version") or ())
        given, as_of = dict(self._said.get("class_path") or ()), self._said.get("as_of")
        if not as_of:
            return versions, given, None
        registry = self._registry
        schemas = {one.name: one for one in _schemas_in(file, registry)}
        moment = past.moment_of(as_of, schemas.values(), registry, date_of_tag)
        asked = [one for name, one in schemas.items() if name not in versions]
        versions = {**past.versions_at(asked, moment, registry), **versions}
        is_pickle = writer(self._to).is_pickle
        paths = past.class_paths(versions, registry, moment, given) if is_pickle else {}
        return versions, paths, past.protocol_of(moment) if is_pickle else None

    def _value(self, file: File, target: Path | str) -> tuple[object, list[str]]:
        """Return the tree, the arrays or the model to write, and what is left out, in words."""
        to = writer(self._to)
        if to.is_model:
            return self._model(file, target)
        if not to.is_flat:
            return file.tree, []
        arrays, left_out = _arrays(file, self._to)
        return arrays, [f"{left_out:,} values that are not arrays are left out"] if left_out else []

    def _model(self, file: File, target: Path | str) -> tuple[object, list[str]]:
        """Return the living model of a network, and what is left out of it."""
        import contextlib

        from persist._api import networks
        from persist._api.save import save

        partial, named = bool(self._said.get("allow_partial")), self._said.get("weights")
        with contextlib.ExitStack() as stack:
            weights = None if named is None else stack.enter_context(open_file(named))
            model, lost = networks.converted(file, weights, partial)
            if partial and lost:
                separate = f"{os.path.splitext(target)[0]}.npz"
                arrays, _ = _arrays(file if weights is None else weights, "npz")
                save(arrays, separate, format="npz")
                lost.append(f"all weights are in {separate}")
            return model, lost


def _exists(target: Path | str) -> bool:
    """Whether something is at a path or a URL, or the files of a checkpoint are."""
    if isinstance(target, Path):
        return target.exists() or Path(f"{target}.index").exists()
    return urls.exists(target) or urls.exists(f"{target}.index")


def _named(text: str) -> Any:
    """Return the function that ``MODULE:NAME`` names."""
    module, _, name = text.partition(":")
    return getattr(importlib.import_module(module), name)


def _local(name: str) -> str | None:
    """The path of a local file; None for what comes from elsewhere."""
    return None if is_url(name) else name


def _schemas_in(file: File, registry: Registry) -> Iterator[Schema]:
    """Yield the schemas of the classes that a file names, and of their declared bases."""
    for name in sorted(file._content.globals):
        schema = registry.schema_for(file.knowledge.resolve(name))
        if schema is None:
            continue
        yield schema
        if schema.cls is not None:
            yield from (part.schema for part in registry.layout(schema.cls).parts)


def _arrays(file: File, format: str) -> tuple[dict[str, Any], int]:
    """Return the arrays of a file by path, and the number of values that are none."""
    import numpy as np

    from persist._wire.torch.quantized import expanded
    from persist.tree import LazyArray

    arrays: dict[str, Any] = dict(file._arrays_at_every_path)
    arrays = expanded(arrays)
    # safetensors has element types that NumPy lacks; its writer copies their bytes unconverted.
    arrays = {
        path: array
        if format == "safetensors" and isinstance(array, LazyArray)
        else np.asarray(array)
        for path, array in arrays.items()
    }
    arrays = {path: array for path, array in arrays.items() if not array.dtype.hasobject}
    return arrays, sum(path not in arrays for path in file.scalars)
