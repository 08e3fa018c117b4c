"""What a folder of files holds: which classes, in which layouts and versions, written by whom.

`survey` looks into files without importing or calling anything that they name, and gives a table of
class by layout by version by writer, with what a load would do to it today. `persist survey` prints
it; `persist draft --from survey.json` writes classes and steps for a folder whose source is lost.

    _forms.py    the layout of one record: arity or fields, kinds, shapes
    _collect.py  files to rows
    _pairs.py    two classes that are probably one, before and after it was renamed
    _text.py     the table on a terminal
    _page.py     the page in HTML
    _lines.py    JSON Lines
    _skeleton.py a module of classes, stamps, aliases and steps for rows without a class
    _proof.py    does that module load the files?
"""

from persist.survey._collect import Collector, Row, Survey, survey

__all__ = ["Collector", "Row", "Survey", "survey"]
