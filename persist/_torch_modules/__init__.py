"""Modules of torch as declared state: constructor configuration, parameters and buffers.

The state of a module is one flat dict. The arguments of its constructor are there under their names, parameters
and buffers under their names of ``state_dict()``, and a few facts about submodules under the name of the
submodule, so that ``ops.rename("fc1.*", "hidden.*")`` moves them too (`facts`). `taking` makes such a dict of a
module, `building` constructs a module and fills it; `states` makes one of what older files hold: the ``__dict__``
of a module that was pickled whole, or a plain state dict.

Nothing here imports torch before a module of torch is handled; a class is recognised by
``torch.nn.Module`` in ``sys.modules``. When the steps of a class run is decided in `persist._instances`.
"""
