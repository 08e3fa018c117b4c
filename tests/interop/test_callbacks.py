"""Callbacks of the real frameworks: a run that stops half-way and resumes arrives where one run arrives."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch")
nn = torch.nn
os.environ.setdefault("KERAS_BACKEND", "torch")


def data(count: int = 32) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 4, generator=generator)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])


@pytest.fixture
def lightning() -> Any:
    found = pytest.importorskip("lightning.pytorch")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return found


def lightning_run(lightning: Any, folder: Path, epochs: int, every: int | None) -> Any:
    from persist.callbacks import LightningCheckpoints

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.0), nn.Linear(8, 1))

        def training_step(self, batch: Any, index: int) -> Any:
            loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]

    torch.manual_seed(5)
    module = Module()
    callback = LightningCheckpoints(persist.Checkpoints(folder, keep_last=3), every_n_steps=every)
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback],
    )  # fmt: skip
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=8)
    trainer.fit(module, loader, ckpt_path=callback.path)
    callback.runs.close()
    return module, callback, trainer


@pytest.mark.parametrize("every", [None, 4])
def test_a_lightning_run_resumes(lightning: Any, tmp_path: Path, every: int | None) -> None:
    whole, callback, _ = lightning_run(lightning, tmp_path / "whole", 4, every)
    assert callback.runs.steps() == [8, 12, 16]
    assert callback.runs.metrics(16)["loss"] > 0
    lightning_run(lightning, tmp_path / "parts", 2, every)
    again, callback, trainer = lightning_run(lightning, tmp_path / "parts", 4, every)
    assert trainer.global_step == 16
    assert callback.runs.latest() == 16
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    held = persist.Checkpoints(tmp_path / "parts").restore(arrays="torch")
    whole.load_state_dict(held["state_dict"])


@pytest.fixture
def transformers() -> Any:
    return pytest.importorskip("transformers")


def trainer_run(transformers: Any, folder: Path, steps: int, resume: Path | None = None) -> Any:
    from persist.callbacks import TrainerCheckpoints

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))

        def forward(self, x: Any = None, labels: Any = None) -> Any:
            out = self.body(x)
            return {"loss": nn.functional.mse_loss(out, labels), "logits": out}

    torch.manual_seed(5)
    net = Net()
    callback = TrainerCheckpoints(persist.Checkpoints(folder), every_n_steps=4)
    x, y = data()
    rows = [{"x": one, "labels": two} for one, two in zip(x, y, strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "out"), max_steps=16, per_device_train_batch_size=4, save_strategy="no",
        report_to=[], use_cpu=True, seed=3, disable_tqdm=True, logging_steps=4,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=net, args=arguments, train_dataset=rows, callbacks=[callback]
    )
    if steps < 16:

        class Stop(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
            def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:
                control.should_training_stop = state.global_step >= steps

        trainer.add_callback(Stop())
    trainer.train(resume_from_checkpoint=None if resume is None else callback.folder(resume))
    callback.runs.close()
    return net, callback, trainer


def test_a_hugging_face_trainer_resumes(transformers: Any, tmp_path: Path) -> None:
    whole, callback, _ = trainer_run(transformers, tmp_path / "whole", 16)
    assert callback.runs.steps() == [8, 12, 16]
    _, stopped, _ = trainer_run(transformers, tmp_path / "parts", 9)
    assert stopped.runs.latest() == 8
    again, callback, trainer = trainer_run(
        transformers, tmp_path / "parts", 16, tmp_path / "resume"
    )
    assert trainer.state.global_step == 16
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert callback.folder(tmp_path / "other", 12) == str(tmp_path / "other")


def test_a_keras_model_resumes(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    from persist.callbacks import KerasCheckpoints

    x, y = (one.numpy() for one in data())

    def model() -> Any:
        keras.utils.set_random_seed(5)
        made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
        made.compile(optimizer="adam", loss="mse")
        return made

    def fitted(net: Any, folder: Path, epochs: int) -> Any:
        callback = KerasCheckpoints(folder)
        first = callback.restore(net)
        net.fit(
            x, y, epochs=epochs, initial_epoch=first, shuffle=False, verbose=0, callbacks=[callback]
        )
        callback.runs.close()
        return callback

    whole, again = model(), model()
    callback = fitted(whole, tmp_path / "whole", 4)
    assert callback.runs.steps() == [2, 3, 4]
    assert callback.runs.metrics(4)["loss"] > 0
    fitted(model(), tmp_path / "parts", 2)
    fitted(again, tmp_path / "parts", 4)
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(one, other)
    net = model()
    net.compile(optimizer="sgd", loss="mse")
    with pytest.raises(persist.PersistError, match="were saved"):
        KerasCheckpoints(tmp_path / "parts").restore(net)
