"""What `persist.migrations.pandas` needs: views of records, and objects of the installed pandas made of them.

Views: `view_common` (how a class is looked at), `view_arrays`, `view_labels`, `view_scalars`; frames and
series are in the pack itself. The rest makes frames, series, indexes and scalars of every release as objects of the installed one.

Each class is made by its public constructor from what its state means; nothing of pandas' internals is
set. The parts of a record are objects already when it is made (`persist.registry.Registry.rebuild`): a
block manager is then a `parts.Manager` of indexes and arrays, from which a frame or series is made.

- `parts`: block managers and blocks of all generations, and what else only lies inside of others.
- `indexes`, `arrays`: indexes; extension arrays and dtypes.
- `scalars`: timestamps, periods, intervals, offsets and time zones.
- `frames`: frames, series, panels.

Evidence: as in `persist.migrations.pandas`; objects of 0.18 to 3.1 with descriptions by the release that
wrote them (``tests/foundry/pandas``).
"""
