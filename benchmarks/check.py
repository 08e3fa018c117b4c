"""How long `persist check` takes for 200 schemas and 2,000 golden files: under 20 s.

python benchmarks/check.py [--schemas 200] [--files 2000]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).parents[1]
CALL = "import sys; from persist._cli import main; sys.exit(main())"

CLASS = '''

@attrs.define(eq=False)
class Layer{n}(persist.Versioned, version=3, schema="many.Layer{n}"):
    """Number {n}."""

    weights: np.ndarray
    bias: np.ndarray
    rate: float = 0.1


persist.migration(Layer{n}, 1, persist.ops.rename("W", "weights"))


@persist.migration(Layer{n}, 2)
def layer_{n}_2_to_3(state):
    """A rate comes in."""
    return {{**state, "rate": 0.1}}
'''

FILES = """
import numpy as np, persist
from pathlib import Path
from persist.history import golden
from persist.history.project import find_project
from persist.tree import Record
project = find_project()
project.load()
for n in range({files}):
    state = {{"W": np.arange(100.0), "bias": np.zeros(10)}}
    path = project.golden_path / f"file{{n}}.persist"
    path.parent.mkdir(parents=True, exist_ok=True)
    persist.save(Record(f"many.models.Layer{{n % {schemas}}}", state, version=1), path, durable=False)
    golden.add(project, path)
"""


def main() -> None:
    """Make the project, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--files", type=int, default=2000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "many").mkdir()
        (folder / "many" / "__init__.py").touch()
        models = "import attrs\nimport numpy as np\n\nimport persist\n"
        models += "".join(CLASS.format(n=n) for n in range(args.schemas))
        (folder / "many" / "models.py").write_text(models)
        (folder / "pyproject.toml").write_text('[tool.persist]\nimport = ["many.models"]\n')
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(TOP)])}

        def run(*words: str) -> float:
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], cwd=folder, env=env, check=True)
            return time.perf_counter() - start

        run("-c", CALL, "lock")
        run("-c", FILES.format(files=args.files, schemas=args.schemas))
        taken = run("-c", CALL, "check")
        print(f"check of {args.schemas} schemas and {args.files} golden files: {taken:.1f} s")


if __name__ == "__main__":
    main()
