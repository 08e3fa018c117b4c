"""Write the step that a changed class needs, and increase its version.

Compares the lock file with the classes. Asks whether a field was renamed, best guess first, with the
evidence: names, types, values in files (--from, --to), and the code of __setstate__. The change is
shown before it is written.

persist draft --from survey.json writes a module instead, for files whose source is lost: the classes
that `persist survey --json` found, their versions, and steps; then it loads every file with it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persist._cli import _project
from persist._cli._project import reporting

if TYPE_CHECKING:
    from persist.history.drafting import Draft
    from persist.history.evidence import Guess
    from persist.history.project import Project

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--yes", action="store_true", help="accept every likely guess, and write")
    parser.add_argument(
        "--answers",
        metavar="FILE",
        type=Path,
        help='JSON or TOML: {"lab.Layer": {"W": "weights", "cache": null}}, and write',
    )
    parser.add_argument(
        "--from",
        dest="before",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="a file of the released version; may be repeated; or the output of `persist survey --json`",
    )
    parser.add_argument(
        "--to",
        dest="after",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="the same objects, saved by the current version; in the same order",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        default=Path("recovered.py"),
        help="the module that is written from a survey (default recovered.py)",
    )
    parser.add_argument("--force", action="store_true", help="replace a module that is there")
    parser.add_argument(
        "--separate",
        action="store_true",
        help="from a survey: keep two classes apart that are probably one, before and after it was renamed",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the change and write nothing")
    parser.add_argument("--no-test", action="store_true", help="do not write tests")
    _project.add(parser)


@reporting
def run(args: argparse.Namespace) -> int:
    """Draft; 1 if a question is not answered."""
    from persist._cli._out import show
    from persist.history import drafting, writing

    if len(args.before) == 1 and (said := _survey_in(args.before[0])) is not None:
        return _recover(args, said)
    project = _project.project_of(args)
    answers = {} if args.answers is None else _answers(args.answers)
    found = drafting.drafts(project, *_states(args, project))
    if not found:
        show("no class has changed since its release; there is nothing to draft")
        return 0
    decides = args.yes or args.answers is not None or args.dry_run or sys.stdin.isatty()
    ask = _ask if sys.stdin.isatty() and not args.yes and args.answers is None else None
    for draft in found:
        show(f"{draft.schema.name} {draft.start} → {draft.to}:")
        for line in draft.differences:
            show(f"    {line}")
        for guess in draft.guesses:
            if ask is None and guess.score > 0:
                show(
                    f"  was {guess.old!r} renamed to {guess.new!r}? {guess.score:.0%}: {'; '.join(guess.reasons)}"
                )
        drafting.settle(draft, answers.get(draft.schema.name), ask)
        for question in draft.questions:
            show(f"  to be filled in: {question}")
    edits = writing.edits_of(found)
    if not args.no_test:
        edits += _tests(project, found, writes=decides and not args.dry_run)
    for edit in edits:
        show(edit.diff(project.shown(edit.path)))
    if args.dry_run:
        return 0
    if not decides:
        print(
            "persist draft: nothing was written; pass --yes or --answers FILE",
            file=sys.stderr,
        )
        return 1
    if ask is not None and input("write this? [Y/n] ").strip().lower() not in ("", "y", "yes"):
        return 1
    for edit in edits:
        edit.write()
    show("written; review the change, run your tests, then run `persist lock`")
    return 0


def _survey_in(path: Path) -> object:
    """The JSON of a survey: an object, or a list of the lines of JSON Lines; None for any other file."""
    import json

    if path.suffix not in (".json", ".jsonl") or not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    try:
        said = json.loads(text)
    except ValueError:
        try:
            said = [json.loads(line) for line in text.splitlines()]
        except ValueError:
            return None
    if isinstance(said, dict) and isinstance(said.get("survey"), dict):
        said = [said]  # JSON Lines of a single line
    first = said[0] if isinstance(said, list) and said else said
    return said if isinstance(first, dict) and "survey" in first else None


def _recover(args: argparse.Namespace, said: object) -> int:
    """Write a module for the classes of a survey, and load its files with it; 1 if one does not load."""
    from persist._cli._out import show
    from persist._cli.survey import expanded
    from persist.errors import PersistError
    from persist.survey import Survey
    from persist.survey._lines import from_lines
    from persist.survey._proof import prove
    from persist.survey._skeleton import skeleton

    try:
        found = from_lines(said) if isinstance(said, list) else Survey.from_json(said)
    except PersistError as error:
        raise error.at(file=str(args.before[0])) from error.__cause__
    made = skeleton(found, joins=not args.separate)
    if not made.classes:
        show("the survey has no class that is not declared; there is nothing to draft")
        return 0
    if args.dry_run:
        show(made.text.rstrip("\n"))
        return 0
    if args.out.exists() and not args.force:
        raise PersistError(
            "there is such a file already.", file=str(args.out),
            remedy="Name another one with --out, or replace it with --force.",
        )  # fmt: skip
    args.out.write_text(made.text, encoding="utf-8")
    count = len(made.classes)
    show(
        f"{args.out}: {count:,} class{'es' * (count != 1)}, {made.guesses:,} guesses, each with a comment"
    )
    for pair in made.joined:
        show(f"taken as one class: {pair}")
    for name, why in sorted(made.left_out.items()):
        show(f"not drafted: {name}: {why}")
    proof = prove(args.out, expanded(found.roots))
    show(str(proof))
    return 1 if proof.failed else 0


def _tests(project: Project, found: list[Draft], writes: bool) -> list[Any]:
    """Return edits that test the steps, for versions that have a golden file or for which one can be made."""
    from persist._cli._out import show
    from persist.errors import PersistError
    from persist.history import golden, samples, writing

    there = golden.golden_files(project)
    made: list[Any] = []
    for draft in found:
        if not any(one.schemas.get(draft.schema.name) == draft.start for one in there):
            try:
                samples.state_of_layout(draft.old)
                if writes:
                    path = samples.make_released(project, draft)
                    show(f"  {project.shown(path)} was made from the lock file, for the test")
            except (LookupError, PersistError) as error:
                show(f"  no test of {draft.schema.name}: no file of version {draft.start} can be made ({error}); "
                     "add one that it wrote: `persist golden add FILE`")  # fmt: skip
                continue
        edit = writing.test_of(project, draft)
        if made:
            edit.after = (
                made[-1].after + edit.after[len(edit.before) :]
                if edit.before
                else _joined(made[-1].after, edit.after)
            )
            made[-1].after = edit.after
        else:
            made.append(edit)
    return made


def _joined(first: str, second: str) -> str:
    return first.rstrip("\n") + "\n\n\n" + second[second.index("def test_") :]


def _ask(draft: Draft, guess: Guess) -> bool | None:
    reasons = "; ".join(guess.reasons) or "no evidence"
    default = "Y/n" if guess.score >= 0.5 else "y/N"
    said = (
        input(f"  was {guess.old!r} renamed to {guess.new!r}? ({reasons}) [{default}] ")
        .strip()
        .lower()
    )
    if not said:
        return None
    return said.startswith("y")


def _answers(path: Path) -> dict[str, Any]:
    import json
    import tomllib

    from persist.errors import PersistError

    try:
        text = path.read_text(encoding="utf-8")
        said = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        return {str(name): dict(own) for name, own in dict(said.get("renames", said)).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise PersistError(
            f"the answers cannot be read: {error}.", file=str(path),
            remedy='They are JSON or TOML: {"lab.Layer": {"W": "weights", "cache": null}}.',
        ) from error  # fmt: skip


def _states(args: argparse.Namespace, project: Project) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the states in the named files and in golden files, by schema."""
    from persist.history import evidence, golden

    registry = project.load()
    names = [schema.name for schema in project.schemas()]
    lock = project.lock()
    before: dict[str, object] = {}
    for name in names:
        locked = lock.schemas.get(name)
        files = list(args.before)
        if not files and locked is not None:
            files = [
                one.path
                for one in golden.golden_files(project)
                if one.schemas.get(name) == locked.latest
            ]
        before[name] = evidence.states_in(files, name, registry)
    return before, {name: evidence.states_in(args.after, name, registry) for name in names}
