"""Write the cases here with Flax, and what Flax restores from them.

Recipe: python3.11 -m venv v && v/bin/pip install flax==0.12.8 && v/bin/python make.py
"""

import hashlib
import json
import pathlib

import flax
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np

HERE = pathlib.Path(__file__).parent
TREE = {
    "params": {
        "Dense_0": {"kernel": np.arange(6, dtype="f4").reshape(2, 3), "bias": jnp.full(3, 0.5)},
        "embedding": np.arange(60, dtype="i4").reshape(5, 12),
    },
    "layers": {"0": np.ones((2, 2), "?"), "1": np.zeros((0, 3))},
    "step": 7,
    "rate": np.float32(0.25),
    "phase": 1 + 2j,
    "name": "net",
    "done": True,
}


def walk(value, path, arrays, scalars):
    if isinstance(value, dict):
        for key, item in value.items():
            walk(item, f"{path}/{key}" if path else key, arrays, scalars)
    elif isinstance(value, (np.ndarray, jax.Array)):
        array = np.asarray(value)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        arrays[path] = {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": digest}
    elif isinstance(value, complex):
        scalars[path] = {"complex": [value.real, value.imag]}
    else:
        scalars[path] = value.item() if isinstance(value, np.generic) else value


for case, most in (("flax-0.12.8-state", None), ("flax-0.12.8-chunked", 64)):
    if most is not None:
        flax.serialization.MAX_CHUNK_SIZE = most  # as for an array above 1 GiB
    data = flax.serialization.msgpack_serialize(TREE)
    folder = HERE / case
    folder.mkdir(exist_ok=True)
    (folder / "state.msgpack").write_bytes(data)
    arrays, scalars = {}, {}
    walk(flax.serialization.msgpack_restore(data), "", arrays, scalars)
    spec = {
        "file": "state.msgpack",
        "format": "msgpack",
        "what": "a state of parameters" + (", one array of which is in pieces" if most else ""),
        "written_by": {"flax": flax.__version__, "jax": jax.__version__, "numpy": np.__version__},
        "arrays": arrays,
        "scalars": scalars,
    }
    (folder / "expected.json").write_text(json.dumps(spec, indent=1) + "\n")
