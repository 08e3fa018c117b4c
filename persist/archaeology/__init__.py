"""Which layouts the classes of a project had, commit by commit, and which commits can have written a file.

`history_of` walks the history of a git repository. The source of each revision is parsed, and nothing
of it is run. `persist survey --git REPO` prints what was found; `persist date FILE --git REPO` names
the commits that can have written a file.

    _git.py      commits, what they changed, and the contents of files, from git
    _python.py   source of any release of Python to syntax trees
    _classes.py  syntax trees to layouts: what an instance of a class has in a file
    _memory.py   layouts by the id of a file's content, kept from one run to the next
    _walk.py     commits to runs: a layout of a class, and the commits that have it
    _chain.py    the layouts of one class in order, and the steps between them
    _dates.py    a file and the runs: which commits can have written it
    _text.py     all that as text
"""

from persist.archaeology._dates import Dated, Found, date
from persist.archaeology._walk import History, Run, history_of

__all__ = ["Dated", "Found", "History", "Run", "date", "history_of"]
