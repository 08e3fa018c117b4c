"""Records of older versions to the current layout, and down again.

In comes a tree of plain values, arrays and `Record`s, exactly as a file had it. `records.upgrade` copies
it, children before parents, and for each record:

1. resolves its class name through the registry's aliases;
2. finds the version of its state (`versions`): from the envelope that `Versioned` wrote, else from
   the schema's stamps, else version 1;
3. asks the registry for the migrations from that version to the current one, and runs them
   (`versions`; a sequence that is used often is compiled to one function by `compiled`);
   For records whose state is their declared fields and nothing else, all of this is found out once for
   each class and layout of a file (`compiled_records`);
4. sorts the fields into those of the current layout, and reports what no class declares.

Out comes a tree whose records are of the current layout, and a `Plan` that says what was done to each,
and why. `records.plan` does all of it but the steps. The source tree is never changed: arrays are
shared and read-only while steps run (`state.freeze` and `thaw`).

`downgrade` goes the other way: the steps' inverses, newest first, with a report of what is lost.
"""
