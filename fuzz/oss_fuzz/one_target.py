"""One target for OSS-Fuzz: `build.sh` sets its name."""

from __future__ import annotations

import sys

import driver

TARGET = "pickle"

if __name__ == "__main__":
    driver.instrument()
    import targets

    targets.install()
    target = targets.targets()[TARGET]
    driver.guided(TARGET, target, sys.argv[1:], driver.Counter())
