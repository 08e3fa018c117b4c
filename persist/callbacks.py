"""Callbacks of training frameworks that keep a run's states in `persist.Checkpoints`.

    from persist.callbacks import LightningCheckpoints     # a lightning.pytorch.callbacks.Callback
    from persist.callbacks import TrainerCheckpoints       # a transformers.TrainerCallback
    from persist.callbacks import KerasCheckpoints         # a keras.callbacks.Callback

A framework is imported when the first instance of its callback is made: instances are of a subclass that has the
framework's own class as a second base.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from persist._api.load import load
from persist.checkpoints import Checkpoints
from persist.errors import MissingExtraError, PersistError

__all__ = ["KerasCheckpoints", "LightningCheckpoints", "TrainerCheckpoints"]


class _Deferred:
    """A class whose instances derive from a class of a framework as well."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        own: Any = cls
        found: Any = _derived(own)
        return object.__new__(found)

    @staticmethod
    def _base() -> type:
        """Import and return the class of the framework."""
        raise NotImplementedError


@functools.cache
def _derived(cls: Any) -> Any:
    try:
        base = cls._base()
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{cls.__name__} derives from a class of {error.name}, which is not installed.",
            remedy=f"Install it with: pip install {str(error.name).partition('.')[0]}.",
        ) from error
    if issubclass(cls, base):
        return cls
    return type(cls.__name__, (cls, base), {"__module__": cls.__module__, "__doc__": cls.__doc__})


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


class _InCheckpoints(_Deferred):
    """Reads and writes the checkpoints of one folder; leaves other paths to what was there before."""

    @staticmethod
    def _base() -> type:
        found: type = importlib.import_module(
            "lightning.fabric.plugins.io.checkpoint_io"
        ).CheckpointIO
        return found

    def __init__(self, callback: Any, before: Any) -> None:
        self.callback = callback
        self.before = before

    def save_checkpoint(self, checkpoint: Any, path: object, storage_options: Any = None) -> None:
        """Write a checkpoint: into the folder of the callback, if it asked for it."""
        if str(path) != self.callback.writing:
            self.before.save_checkpoint(checkpoint, path, storage_options)
            return
        trainer = self.callback.trainer
        metrics = _numbers(trainer.callback_metrics)
        self.callback.runs.save(trainer.global_step, checkpoint, metrics)

    def load_checkpoint(self, path: Any, map_location: Any = None, **options: Any) -> Any:
        """Read a checkpoint; one of `Checkpoints` with tensors."""
        if not str(path).endswith(".persist"):
            return self.before.load_checkpoint(path, map_location, **options)
        self.callback.runs.wait()
        return load(path, arrays="torch")

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint of Lightning's own."""
        self.before.remove_checkpoint(path)


class LightningCheckpoints(_Deferred):
    """Saves what Lightning's own checkpoints hold, with the logged metrics, into `Checkpoints`.

    ``trainer.fit(module, ckpt_path=callback.path)`` resumes from the latest step, or begins where there
    is none.

    Args:
        runs: the folder, or its `Checkpoints`.
        every_n_steps: optimizer steps between checkpoints; None: one at the end of each training epoch.
    """

    @staticmethod
    def _base() -> type:
        found: type = importlib.import_module("lightning.pytorch.callbacks").Callback
        return found

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
        """Let the trainer read and write checkpoints of the folder."""
        self.trainer = trainer
        if not isinstance(trainer.strategy.checkpoint_io, _InCheckpoints):
            trainer.strategy.checkpoint_io = _InCheckpoints(self, trainer.strategy.checkpoint_io)

    def on_train_batch_end(self, trainer: Any, *_: object) -> None:
        """Save a step that is due."""
        if _is_due(trainer.global_step, self.every_n_steps):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save the epoch, where steps are not counted."""
        if self.every_n_steps is None:
            self._save(trainer)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Wait for the last checkpoint."""
        self.runs.wait()

    def _save(self, trainer: Any) -> None:
        self.writing = os.fspath(self.runs._place(trainer.global_step))
        try:
            trainer.save_checkpoint(self.writing)
        finally:
            self.writing = ""


# Hugging Face.


class TrainerCheckpoints(_Deferred):
    """Saves model, optimizer, scheduler, random generators and progress of a ``Trainer`` into `Checkpoints`.

    Let the Trainer itself save nothing (``save_strategy="no"``).
    ``trainer.train(resume_from_checkpoint=callback.folder("resume"))`` resumes: the folder gets the files that
    a ``Trainer`` looks for.

    Args:
        runs: the folder, or its `Checkpoints`.
        every_n_steps: optimizer steps between checkpoints; None: one at the end of each epoch.
    """

    @staticmethod
    def _base() -> type:
        found: type = importlib.import_module("transformers").TrainerCallback
        return found

    def __init__(self, runs: Any, *, every_n_steps: int | None = None) -> None:
        self.runs = runs if isinstance(runs, Checkpoints) else Checkpoints(runs)
        self.every_n_steps = every_n_steps

    def on_step_end(self, args: object, state: Any, control: Any, **parts: Any) -> None:
        """Save a step that is due."""
        if _is_due(state.global_step, self.every_n_steps):
            self._save(state, parts)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
        """Save the epoch, if it is due."""
        if self.every_n_steps is None:
            self._save(state, parts)

    def on_train_end(self, args: Any, state: object, control: object, **parts: Any) -> None:
        """Wait for the last checkpoint."""
        self.runs.wait()

    def _save(self, state: Any, parts: Mapping[str, Any]) -> None:
        torch = importlib.import_module("torch")
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
        torch = importlib.import_module("torch")
        held = self.runs.restore(step, arrays="torch")
        target = Path(path)
        target.mkdir(parents=True, exist_ok=True)
        torch.save(held["model"], target / "pytorch_model.bin")
        torch.save(held["optimizer"], target / "optimizer.pt")
        torch.save(held["scheduler"], target / "scheduler.pt")
        torch.save(_generators(held["rng"]), target / "rng_state.pth")
        (target / "trainer_state.json").write_text(json.dumps(held["trainer_state"]))
        return os.fspath(target)


def _generators(rng: Mapping[str, Any]) -> dict[str, Any]:
    """The states of random generators in the types that a ``Trainer`` loads: NumPy's keys are an array."""
    name, keys, *rest = rng["numpy"]
    return {**rng, "numpy": (name, np.asarray(keys, np.uint32), *rest)}


# Keras.


class KerasCheckpoints(_Deferred):
    """Saves weights and the optimizer's variables at the end of each epoch into `Checkpoints`.

    ``model.fit(..., initial_epoch=callback.restore(model))`` resumes.

    Args:
        runs: the folder, or its `Checkpoints`.
        every_n_epochs: epochs between checkpoints.
    """

    model: Any  # set by Keras

    @staticmethod
    def _base() -> type:
        found: type = importlib.import_module("keras.callbacks").Callback
        return found

    def __init__(self, runs: Any, *, every_n_epochs: int = 1) -> None:
        super().__init__()
        self.runs = runs if isinstance(runs, Checkpoints) else Checkpoints(runs)
        self.every_n_epochs = every_n_epochs

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save the epoch, if it is due."""
        done = epoch + 1
        if not _is_due(done, self.every_n_epochs):
            return
        held = {
            "weights": [np.asarray(one) for one in self.model.get_weights()],
            "optimizer": [_as_array(one) for one in self.model.optimizer.variables],
        }
        self.runs.save(done, held, _numbers(logs or {}))

    def on_train_end(self, logs: Any = None) -> None:
        """Wait for the last checkpoint."""
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


def _as_array(variable: Any) -> Any:
    value = variable.numpy() if hasattr(variable, "numpy") else variable
    return np.asarray(value)
