"""``python -m persist.demo DIR``: what ``persist demo DIR`` does."""

from __future__ import annotations

import sys

from persist._cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
