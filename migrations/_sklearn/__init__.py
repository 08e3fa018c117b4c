"""scikit-learn: how estimators of every release become estimators of the installed one.

`persist.migrations.sklearn` imports `rebuilding`, which declares for each class listed in `classes`
how an object is made of its record: the state goes through the steps of `changes` that are newer
than the release that wrote it (``_sklearn_version``, written since 0.18), parameters that the class
has got since are added, values of parameters that were renamed are replaced, and the attributes are
set on a new instance. No code of the file runs, and ``__setstate__`` of the library, which
refuses or warns about other releases, is not called for estimators.

A step is declared with the release that changed the layout. A state of no known release (before
0.18, or of a class that records none) goes through all steps, so each step accepts what is
already as it should be.

Where a state cannot be brought over without changing what the estimator answers, a
`persist.errors.RestoreError` says why, and the record stays.

Evidence: ``doc/whats_new`` of each release, the classes' ``fit`` methods in the releases of 0.13 to 1.9,
and the answers recorded by genuine releases (``tests/foundry/sklearn``).
"""
