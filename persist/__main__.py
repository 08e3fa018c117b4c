"""``python -m persist``: the command ``persist``."""

from __future__ import annotations

import sys

from persist._cli import main

if __name__ == "__main__":
    sys.exit(main())
