"""``python -m persist.demo DIR``: genuine old files to try things on, as ``persist demo DIR`` writes them."""

from __future__ import annotations

import sys

from persist._cli import main
from persist._demo import write

__all__ = ["write"]

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
