"""How the classes of a project changed: the lock file, its check, drafts of steps, golden files.

The command's verbs ``lock``, ``check``, ``draft``, ``golden``, ``graph`` and ``schemas`` are thin
layers over this package; `persist.testing` uses it in a project's own tests.

    project.py   [tool.persist] of pyproject.toml
    locking.py   today's classes as a lock
    checking.py  lock and classes compared: findings
    drafting.py  a changed class: which fields came, went and were renamed, and the evidence
    writing.py   the step and the version, written into the source file
    golden.py    old files with their recorded contents
    foundry.py   golden files written by an old release of a package
    drawing.py   graphs and changelogs
"""
