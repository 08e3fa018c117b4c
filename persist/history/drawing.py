"""The migration graph of schemas, the plan of a file, and the changelog of a class, as text.

Graphs are Mermaid, which GitHub and most documentation tools draw.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable

from persist._layouts.description import differences
from persist._layouts.lockfile import Lock, LockedSchema
from persist._upgrade.plan import Plan
from persist.errors import PersistError, SchemaError
from persist.registry import Registry
from persist.schema import Schema

__all__ = ["changelog", "dot_of_schemas", "mermaid_of_plan", "mermaid_of_schemas", "svg"]


def mermaid_of_schemas(schemas: Iterable[Schema], registry: Registry) -> str:
    """Return the versions and steps of schemas as a Mermaid graph; what leads nowhere is marked."""
    lines = ["graph LR"]
    for schema in schemas:
        key = _key(schema.name)
        lines.append(f'  subgraph {key}["{_said(schema.name)}"]')
        steps = registry.migrations(schema.name)
        versions = sorted({1, schema.version, *(v for key_ in steps for v in key_)})
        oldest = registry.oldest_supported(schema.name)
        for version in versions:
            today = " today" if version == schema.version else ""
            lines.append(f'    {key}_{version}["{version}{today}"]')
        for (first, last), step in sorted(steps.items()):
            arrow = "<-->" if step.is_reversible else "-->"
            name = step.text if step.ops else step.origin.qualname
            lines.append(f'    {key}_{first} {arrow}|"{_said(name)}"| {key}_{last}')
        lines.append("  end")
        for version in versions:
            if oldest is not None and version < oldest.since:
                lines.append(f"  class {key}_{version} pruned")
            elif not _leads(registry, schema, version):
                lines.append(f"  class {key}_{version} gap")
    lines += ["  classDef gap stroke:#c00,stroke-width:3px", "  classDef pruned stroke-dasharray:4"]
    return "\n".join(lines)


def _leads(registry: Registry, schema: Schema, version: int) -> bool:
    if version >= schema.version:
        return version == schema.version
    try:
        registry.path(schema.name, version, schema.version)
    except SchemaError:
        return False
    return True


def mermaid_of_plan(plan: Plan) -> str:
    """Return what a load does to each kind of record in a file, as a Mermaid graph."""
    lines = ["graph LR", f'  file["{_said(plan.file or "file")}"]']
    seen: dict[str, int] = {}
    for entry in plan:
        states = " → ".join(
            f"{route.schema} {route.found}" + "".join(f" → {step.to}" for step in route.steps)
            for route in entry.version_paths
        )
        problem = f"cannot: {entry.problem.what}" if entry.problem is not None else ""
        what = problem or states or ("stays a record" if entry.is_opaque else "a plain value")
        key = f"{entry.qualname}\n{what}"
        seen[key] = seen.get(key, 0) + 1
    for number, (key, count) in enumerate(seen.items()):
        name, _, what = key.partition("\n")
        times = f" × {count}" if count > 1 else ""
        lines.append(f'  file --> r{number}["{_said(name)}{times}"] --> t{number}["{_said(what)}"]')
    return "\n".join(lines)


def _key(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _said(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    )


def dot_of_schemas(schemas: Iterable[Schema], registry: Registry) -> str:
    """Return the same graph for Graphviz."""
    lines = ["digraph schemas {", "  rankdir=LR; node [shape=box];"]
    for schema in schemas:
        name = schema.name.replace('"', "'")
        for (first, last), step in sorted(registry.migrations(schema.name).items()):
            label = (
                (step.text if step.ops else step.origin.qualname)
                .replace("\\", "/")
                .replace('"', "'")
            )
            lines.append(f'  "{name} {first}" -> "{name} {last}" [label="{label}"];')
        lines.append(f'  "{name} {schema.version}" [style=bold];')
    return "\n".join([*lines, "}"])


def svg(dot: str) -> str:
    """Return a graph as SVG, drawn by Graphviz.

    Raises:
        PersistError: Graphviz is not installed, or fails.
    """
    program = shutil.which("dot")
    if program is None:
        raise PersistError(
            "Graphviz's program `dot` is not installed.",
            remedy="Install Graphviz, or leave --svg out: Mermaid text needs nothing.",
        )
    done = subprocess.run(
        [program, "-Tsvg"], input=dot, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PersistError(f"Graphviz failed: {done.stderr.strip()}.", remedy="Leave --svg out.")
    return done.stdout


def changelog(schemas: Iterable[Schema], registry: Registry, lock: Lock) -> str:
    """Return the history of schemas as Markdown: versions, releases, dates, fields and steps."""
    parts = []
    for schema in schemas:
        parts.append(f"## {schema.name}\n")
        locked = lock.schemas.get(schema.name, LockedSchema(schema.name))
        versions = sorted(
            {schema.version, *locked.versions, *_targets(registry, schema)}, reverse=True
        )
        for version in versions:
            known = locked.versions.get(version)
            said = "" if known is None else ", ".join(p for p in (known.release, known.date) if p)
            releases = registry.releases(schema.name).get(version, "")
            said = ", ".join(
                part for part in (said, f"releases {releases}" * bool(releases)) if part
            )
            parts.append(f"### Version {version}{f' ({said})' if said else ''}\n")
            steps = [
                step
                for key, step in sorted(registry.migrations(schema.name).items())
                if key[1] == version
            ]
            for step in steps:
                doc = (
                    (step.__doc__ or "").strip().partition("\n\n")[0]
                    if step.function is not None
                    else ""
                )
                text = (
                    " ".join(doc.split()) or step.text.partition(" (")[0]
                    if step.function
                    else step.text
                )
                start = f" (from {step.start})" if step.start != version - 1 else ""
                parts.append(f"- {text}{start}")
            before = locked.versions.get(version - 1)
            if known is not None and before is not None:
                parts += [f"- `{line}`" for line in differences(before.layout, known.layout)]
            elif known is not None and not steps:
                parts.append(f"- Fields: `{known.layout}`")
            parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _targets(registry: Registry, schema: Schema) -> set[int]:
    return {key[1] for key in registry.migrations(schema.name) if key[1] <= schema.version}
