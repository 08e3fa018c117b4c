"""Callbacks of training frameworks that keep a run's states in `persist.Checkpoints`.

Each is a subclass of the framework's own class, made when its name is first used, so that importing this module
imports no framework:

    from persist.callbacks import LightningCheckpoints     # lightning.pytorch.callbacks.Callback
    from persist.callbacks import TrainerCheckpoints       # transformers.TrainerCallback
    from persist.callbacks import KerasCheckpoints         # keras.callbacks.Callback
"""

from __future__ import annotations

import importlib
import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from persist._api.load import load
from persist.checkpoints import Checkpoints
from persist.errors import MissingExtraError, PersistError

__all__ = ["KerasCheckpoints", "LightningCheckpoints", "TrainerCheckpoints"]

if TYPE_CHECKING:  # their bases are imported when they are first used
    KerasCheckpoints: Any
    LightningCheckpoints: Any
    TrainerCheckpoints: Any


def __getattr__(name: str) -> Any:
    make = _MAKERS.get(name)
    if make is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = make()
    made.__module__, made.__qualname__ = __name__, name
    globals()[name] = made
    return made


def _framework(*names: str) -> Any:
    """Import the first of several modules that is installed.

    Raises:
        MissingExtraError: none of them is.
    """
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
    library = names[0].partition(".")[0]
    raise MissingExtraError(
        f"its callback derives from a class of {library}, which is not installed.",
        remedy=f"Install it with: pip install {library}.",
    )


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are single numbers."""
    found = {}
    for name, value in metrics.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number or (hasattr(value, "item") and np.ndim(value) == 0):
            found[name] = float(value)
    return found


# Lightning.


def _lightning() -> type:
    base: Any = _framework("lightning.pytorch.callbacks", "pytorch_lightning.callbacks").Callback
    plugins: Any = _framework(
        "lightning.fabric.plugins.io.checkpoint_io", "lightning_fabric.plugins.io.checkpoint_io"
    )

    class InCheckpoints(plugins.CheckpointIO):  # type: ignore[misc, name-defined]
        """Reads and writes the checkpoints of one folder; leaves other paths to what was there before."""

        def __init__(self, callback: Any, before: Any) -> None:
            self.callback = callback
            self.before = before

        def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
            if str(path) != self.callback.writing:
                self.before.save_checkpoint(checkpoint, path, storage_options)
                return
            trainer = self.callback.trainer
            metrics = _numbers(trainer.callback_metrics)
            self.callback.runs.save(trainer.global_step, checkpoint, metrics)

        def load_checkpoint(self, path: Any, map_location: Any = None, **options: Any) -> Any:
            if not str(path).endswith(".persist"):
                return self.before.load_checkpoint(path, map_location, **options)
            self.callback.runs.wait()
            return load(path, arrays="torch")

        def remove_checkpoint(self, path: Any) -> None:
            self.before.remove_checkpoint(path)

    class LightningCheckpoints(base):  # type: ignore[misc, valid-type]
        """Saves what Lightning's own checkpoints hold, with the logged metrics, into `Checkpoints`.

        ``trainer.fit(module, ckpt_path=callback.path)`` resumes from the latest step, or begins where there
        is none.

        Args:
            runs: the folder, or its `Checkpoints`.
            every_n_steps: optimizer steps between checkpoints; None: one at the end of each training epoch.
        """

        def __init__(self, runs: Any, *, every_n_steps: int | None = None) -> None:
            self.runs = runs if isinstance(runs, Checkpoints) else Checkpoints(runs)
            self.every_n_steps = every_n_steps
            self.trainer: Any = None
            self.writing = ""

        @property
        def path(self) -> str | None:
            """The file of the latest step, or None."""
            step = self.runs.latest()
            return None if step is None else os.fspath(self.runs._place(step))

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            self.trainer = trainer
            if not isinstance(trainer.strategy.checkpoint_io, InCheckpoints):
                trainer.strategy.checkpoint_io = InCheckpoints(self, trainer.strategy.checkpoint_io)

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if _is_due(trainer.global_step, self.every_n_steps):
                self._save(trainer)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if self.every_n_steps is None:
                self._save(trainer)

        def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
            self.runs.wait()

        def _save(self, trainer: Any) -> None:
            self.writing = os.fspath(self.runs._place(trainer.global_step))
            try:
                trainer.save_checkpoint(self.writing)
            finally:
                self.writing = ""

    return LightningCheckpoints


# Hugging Face.


def _transformers() -> type:
    base: Any = _framework("transformers").TrainerCallback
    torch: Any = _framework("torch")

    class TrainerCheckpoints(base):  # type: ignore[misc, valid-type]
        """Saves model, optimizer, scheduler, random generators and progress of a ``Trainer`` into `Checkpoints`.

        Let the Trainer itself save nothing (``save_strategy="no"``).
        ``trainer.train(resume_from_checkpoint=callback.folder("resume"))`` resumes: the folder gets the files that
        a ``Trainer`` looks for.

        Args:
            runs: the folder, or its `Checkpoints`.
            every_n_steps: optimizer steps between checkpoints; None: one at the end of each epoch.
        """

        def __init__(self, runs: Any, *, every_n_steps: int | None = None) -> None:
            self.runs = runs if isinstance(runs, Checkpoints) else Checkpoints(runs)
            self.every_n_steps = every_n_steps

        def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
            if _is_due(state.global_step, self.every_n_steps):
                self._save(state, parts)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
            if self.every_n_steps is None:
                self._save(state, parts)

        def on_train_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
            self.runs.wait()

        def _save(self, state: Any, parts: Mapping[str, Any]) -> None:
            rng = {
                "python": random.getstate(),
                "numpy": np.random.get_state(),
                "cpu": torch.random.get_rng_state(),
            }
            if torch.cuda.is_available():
                rng["cuda"] = torch.cuda.get_rng_state_all()
            held = {
                "model": parts["model"].state_dict(),
                "optimizer": parts["optimizer"].state_dict(),
                "scheduler": parts["lr_scheduler"].state_dict(),
                "rng": rng,
                "trainer_state": json.loads(json.dumps(vars(state), default=str)),
            }
            last = state.log_history[-1] if state.log_history else {}
            self.runs.save(state.global_step, held, _numbers(last))

        def folder(self, path: Any, step: int | None = None) -> str | None:
            """Write a step as a folder from which a ``Trainer`` resumes.

            Args:
                path: the folder; created if it does not exist.
                step: None is the latest.

            Returns:
                The folder; None if there is no step.
            """
            if step is None and self.runs.latest() is None:
                return None
            held = self.runs.restore(step, arrays="torch")
            target = Path(path)
            target.mkdir(parents=True, exist_ok=True)
            torch.save(held["model"], target / "pytorch_model.bin")
            torch.save(held["optimizer"], target / "optimizer.pt")
            torch.save(held["scheduler"], target / "scheduler.pt")
            torch.save(_generators(held["rng"]), target / "rng_state.pth")
            (target / "trainer_state.json").write_text(json.dumps(held["trainer_state"]))
            return os.fspath(target)

    return TrainerCheckpoints


def _generators(rng: Mapping[str, Any]) -> dict[str, Any]:
    """The states of random generators in the types that a ``Trainer`` loads: NumPy's keys are an array."""
    name, keys, *rest = rng["numpy"]
    return {**rng, "numpy": (name, np.asarray(keys, np.uint32), *rest)}


# Keras.


def _keras() -> type:
    base: Any = _framework("keras.callbacks").Callback

    class KerasCheckpoints(base):  # type: ignore[misc, valid-type]
        """Saves weights and the optimizer's variables at the end of each epoch into `Checkpoints`.

        ``model.fit(..., initial_epoch=callback.restore(model))`` resumes.

        Args:
            runs: the folder, or its `Checkpoints`.
            every_n_epochs: epochs between checkpoints.
        """

        def __init__(self, runs: Any, *, every_n_epochs: int = 1) -> None:
            super().__init__()
            self.runs = runs if isinstance(runs, Checkpoints) else Checkpoints(runs)
            self.every_n_epochs = every_n_epochs

        def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
            done = epoch + 1
            if not _is_due(done, self.every_n_epochs):
                return
            held = {
                "weights": [np.asarray(one) for one in self.model.get_weights()],
                "optimizer": [_as_array(one) for one in self.model.optimizer.variables],
            }
            self.runs.save(done, held, _numbers(logs or {}))

        def on_train_end(self, logs: Any = None) -> None:
            self.runs.wait()

        def restore(self, model: Any, step: int | None = None) -> int:
            """Fill a compiled model and its optimizer.

            Args:
                model: built and compiled.
                step: an epoch; None is the latest.

            Returns:
                The number of epochs done; 0 if there is no step, and then the model is left alone.

            Raises:
                PersistError: the optimizer has other variables than the one that was saved.
            """
            step = self.runs.latest() if step is None else step
            if step is None:
                return 0
            held = self.runs.restore(step)
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            own = model.optimizer.variables
            if [tuple(one.shape) for one in own] != [one.shape for one in held["optimizer"]]:
                raise PersistError(
                    f"the optimizer has {len(own)} variables, and {len(held['optimizer'])} of other shapes were saved.",
                    remedy="Compile the model as it was, or fill the weights alone: persist.restore(path, model).",
                )
            model.set_weights(held["weights"])
            for variable, value in zip(own, held["optimizer"], strict=True):
                variable.assign(value)
            return step

    return KerasCheckpoints


def _as_array(variable: Any) -> Any:
    value = variable.numpy() if hasattr(variable, "numpy") else variable
    return np.asarray(value)


_MAKERS: dict[str, Callable[[], type]] = {
    "KerasCheckpoints": _keras,
    "LightningCheckpoints": _lightning,
    "TrainerCheckpoints": _transformers,
}
