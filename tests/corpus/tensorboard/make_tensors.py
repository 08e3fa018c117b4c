"""Write the case here with TensorBoard's own writer, whose scalars are tensors, and what TensorBoard reads.

Recipe: python3.11 -m venv v && v/bin/pip install tensorboard==2.21.0 && v/bin/python make_tensors.py
"""

import hashlib
import json
import pathlib
import shutil
import tempfile

import numpy as np
import tensorboard.version
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary import Writer
from tensorboard.util.tensor_util import make_ndarray

NAME = f"tensorboard-{tensorboard.version.VERSION}-writer"
HERE = pathlib.Path(__file__).parent / NAME

with tempfile.TemporaryDirectory() as folder:
    writer = Writer(folder)
    for step in range(4):
        writer.add_scalar("loss", 0.5 / (step + 1), step, description="of training")
    writer.flush()
    writer.close()
    HERE.mkdir(exist_ok=True)
    target = HERE / "events.out.tfevents.1700000000.host"
    shutil.copy(next(pathlib.Path(folder).glob("events*")), target)

found = EventAccumulator(str(target)).Reload().Tensors("loss")
arrays = {
    "loss/value": np.stack([make_ndarray(event.tensor_proto) for event in found]),
    "loss/step": np.array([event.step for event in found]),
    "loss/wall_time": np.array([event.wall_time for event in found]),
}
spec = {
    "file": target.name,
    "format": "tensorboard",
    "what": "scalars as tensors",
    "written_by": {"tensorboard": tensorboard.version.VERSION},
    "arrays": {
        name: {
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        for name, array in arrays.items()
    },
    "scalars": {},
}
(HERE / "expected.json").write_text(json.dumps(spec, indent=1) + "\n")
