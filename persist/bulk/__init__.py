"""One job over many files: on this machine with several processes, or on a cluster.

`plan` finds out which files a job is about, `run` does it and yields an event for each of them. With a
ledger, an interrupted run goes on where it stopped, and a later run does what has changed since.

    _sources.py      paths, patterns, folders, URLs; _folders.py, _inventory.py: two kinds of them
    _targets.py      where each file is written to
    _job.py          what is done to each file, as data; _upgrade.py, _convert.py, _readings.py: do it
    _plan.py         the files of a run, and what comes back
    _engine.py       batches, executors, workers that die
    _worker.py       what runs in a worker
    _ledger.py       the record of it all
    _truth.py        whether a new file is what the old one is; certificates
    _report.py       a ledger as text, JSON, CSV, HTML
    _undo.py         a run is undone; _originals.py: the files that it replaced
"""

from persist.bulk._event import Event
from persist.bulk._inventory import Inventory
from persist.bulk._ledger import Ledger
from persist.bulk._plan import Plan, plan, run

__all__ = ["Event", "Inventory", "Ledger", "Plan", "plan", "run"]
