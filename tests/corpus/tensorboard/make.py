"""Write the case here with tensorboardX, and what was written.

Recipe: python3.11 -m venv v && v/bin/pip install tensorboardX==2.6.5 pillow && v/bin/python make.py
"""

import hashlib
import json
import pathlib
import shutil
import tempfile

import numpy as np
import tensorboardX

HERE = pathlib.Path(__file__).parent / "tensorboardx-2.6.5-run"
START = 1600000000.0
STEPS = np.arange(5) * 10
LOSS = (1 / (np.arange(5) + 1)).astype("f4")
ACCURACY = (np.arange(5) / 8).astype("f4")
WEIGHTS = np.arange(100.0) / 10


def described(array):
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": digest}


with tempfile.TemporaryDirectory() as folder:
    writer = tensorboardX.SummaryWriter(folder)
    for number, step in enumerate(STEPS):
        writer.add_scalar("loss/train", LOSS[number], step, walltime=START + number)
        writer.add_scalar("accuracy", ACCURACY[number], step, walltime=START + number + 0.5)
    writer.add_histogram("weights", WEIGHTS, 10, bins=[0, 2, 5, 10], walltime=START)
    writer.add_image("digit", np.zeros((3, 8, 9), np.uint8), 10, walltime=START)
    writer.add_text("note", "hello", 3, walltime=START)
    writer.close()
    HERE.mkdir(exist_ok=True)
    shutil.copy(next(pathlib.Path(folder).glob("events*")), HERE / "events.out.tfevents.1600000000.host")

arrays = {
    "loss/train/value": LOSS,
    "loss/train/step": STEPS.astype("i8"),
    "loss/train/wall_time": START + np.arange(5.0),
    "accuracy/value": ACCURACY,
    "weights/min": np.array([0.0]),
    "weights/max": np.array([9.9]),
    "weights/num": np.array([100.0]),
    "digit/height": np.array([8]),
    "digit/width": np.array([9]),
}
spec = {
    "file": "events.out.tfevents.1600000000.host",
    "format": "tensorboard",
    "what": "scalars, a histogram, an image and a text",
    "written_by": {"tensorboardX": tensorboardX.__version__},
    "arrays": {name: described(array) for name, array in arrays.items()},
    "scalars": {},
}
(HERE / "expected.json").write_text(json.dumps(spec, indent=1) + "\n")
