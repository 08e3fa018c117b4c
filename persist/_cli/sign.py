"""Sign files that persist wrote, so that whoever has the public key sees whether they were altered.

The signature (Ed25519, over the SHA-256 of every member) becomes a part of the file; the bytes of its arrays
stay as they are. `persist verify --key KEY.pub` and `persist.load(..., require_signature=)` check it.
"""

from __future__ import annotations

import argparse
import sys

__all__ = ["add", "run"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", metavar="FILE", nargs="*", help="a file that persist wrote")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--key", metavar="KEY", help="the private key, a PEM file")
    key.add_argument(
        "--new-key",
        metavar="KEY",
        help="make a pair of keys first: KEY, which only you may read, and KEY.pub, for everybody",
    )
    parser.add_argument(
        "--password", action="store_true", help="ask for the password of the private key"
    )


def run(args: argparse.Namespace) -> int:
    """Sign every file; 1 if any failed."""
    from persist._cli._each import each, error_line
    from persist._cli._out import show
    from persist.errors import PersistError
    from persist.security import new_key, sign

    if args.key and not args.files:
        print("persist sign: there is no FILE to sign.", file=sys.stderr)
        return 2
    password = _asked() if args.password else None
    key = args.key or args.new_key
    if args.new_key:
        try:
            fingerprint = new_key(key, password=password)
        except (OSError, PersistError) as error:
            print(f"persist: {error_line(error, key)}", file=sys.stderr)
            return 1
        show(f"{key}: a new private key; {key}.pub: its public key {fingerprint}")

    def one(name: str) -> None:
        show(f"{name}: {sign(name, key, password=password)}")

    return each(args.files, one)


def _asked() -> bytes:
    import getpass

    return getpass.getpass("password of the private key: ").encode()
