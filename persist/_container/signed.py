"""Signatures of containers: Ed25519 over the digests of all members.

Specified in ``docs/container.md``, section 16. The signature is in the manifest; it covers the name, the size
and the SHA-256 of every other member, and the manifest without its signatures. Checking it reads the
whole file.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from persist._container.in_place.rewrite import begin
from persist._container.layout import (
    MANIFEST,
    central_entry,
    end_of_directory,
    manifest_tail,
)
from persist._container.reading.directory import Entry
from persist._container.reading.store import Store
from persist._container.writing.atomic import replacing
from persist._container.writing.writer import Writer
from persist._wire.base.source import Source, open_source
from persist.errors import DamagedFileError, MissingExtraError, PersistError, SignatureError

__all__ = ["Signature", "check", "check_signature", "new_key", "public_keys", "sign", "signatures"]

_ALGORITHM = "ed25519"
_FIRST = "persist signature 1"  # the first word of what is signed: no other use of a key begins so
_MOST = 1000  # signatures in a file that are looked at


@attrs.frozen
class Signature:
    """A signature in a container.

    Attributes:
        key: fingerprint of the public key: the first 32 hexadecimal digits of the SHA-256 of its 32 bytes.
        date: when the file was signed, as the signer's clock had it: ISO 8601, UTC. It is signed, too.
    """

    key: str
    date: str

    def __str__(self) -> str:
        return f"signed with key {self.key} on {self.date}"


def sign(
    path: str | os.PathLike[str],
    key: object,
    *,
    password: bytes | None = None,
    durable: bool = True,
) -> Signature:
    """Add a signature to a container, in place of an older one of the same key.

    The file is checked to its last byte before it is signed, and replaced as by `persist.save`; the bytes of its
    arrays stay as they are.

    Args:
        path: the container, a local file.
        key: the private key: path of a PEM file (PKCS #8), its content as bytes, or a key of ``cryptography``.
        password: of a PEM file that is encrypted.
        durable: wait until the disk has it.

    Returns:
        The signature.

    Raises:
        DamagedFileError: the container has a fault; what is damaged is not signed.
        FormatError: the file is no container.
        SignatureError: the key is no private key of Ed25519.
        MissingExtraError: the library ``cryptography`` is not installed.
    """
    path = os.fspath(path)
    secret = _private_key(key, password)
    store = _store(path)
    for fault in store.faults():
        raise fault
    public = _raw(secret.public_key())
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    signature = secret.sign(_statement(store, now))
    made = Signature(_fingerprint(public), now)
    entry = {
        "algorithm": _ALGORITHM, "public": public.hex(), "date": now, "signature": signature.hex(),
    }  # fmt: skip
    others = [one for one in _stated(store) if one["public"] != public.hex()]
    _replace_manifest(store, path, {**store.manifest, "signatures": [*others, entry]}, durable)
    return made


def check(source: Source, keys: Iterable[Any]) -> Signature:
    """Check that one of some keys has signed a container, and that no byte of it was changed since.

    Args:
        source: the file.
        keys: public keys, from `public_keys`.

    Returns:
        The signature, of the first of the keys that has one.

    Raises:
        SignatureError: the file is no container, bears no signature of these keys, or was altered after it was
            signed.
    """
    name = source.name
    store = _signed_store(source)
    stated = {one["public"]: one for one in _stated(store)}
    wanted = {_raw(key).hex(): key for key in keys}
    found = [public for public in wanted if public in stated]
    if not found:
        listed = ", ".join(_fingerprint(bytes.fromhex(public)) for public in wanted)
        if not stated:
            raise _refused(
                name,
                f"it is not signed. A signature with key {listed} was expected.",
                "Get the file from who signs it, or sign it with `persist sign`.",
            )
        others = ", ".join(_fingerprint(bytes.fromhex(public)) for public in stated)
        raise _refused(
            name,
            f"it is signed with key {others}. A signature with key {listed} was expected.",
            "Ask the signer for the public key, and compare its fingerprint with what you are given.",
        )
    for public in found:
        entry = stated[public]
        try:
            message = _statement(store, entry["date"])
            wanted[public].verify(bytes.fromhex(entry["signature"]), message)
        except (_exceptions().InvalidSignature, DamagedFileError) as error:
            said = f": {error.what}" if isinstance(error, DamagedFileError) else "."
            raise _refused(
                name,
                f"it was altered after it was signed with key {_fingerprint(bytes.fromhex(public))}{said}",
                "Do not use it: get the file again from who signed it.",
            ) from None
    entry = stated[found[0]]
    return Signature(_fingerprint(bytes.fromhex(found[0])), entry["date"])


def check_signature(source: object, key: object) -> Signature:
    """Check that a container was signed with a key, or with one of several, and not altered since.

    The whole file is read.

    Args:
        source: as for `persist.open`.
        key: path of a public key in PEM, its content as bytes, or an Ed25519 key of ``cryptography``; or a list.

    Returns:
        The signature, of the first of the keys that has one.

    Raises:
        SignatureError: the file is no container, bears no signature of these keys, or was altered after it was
            signed.
        MissingExtraError: the library ``cryptography`` is not installed.
    """
    keys = public_keys(key)
    with contextlib.closing(open_source(source)) as opened:
        return check(opened, keys)


def signatures(source: object) -> list[Signature]:
    """Return what a container says of its signatures; nothing of it is checked.

    Args:
        source: as for `persist.open`.
    """
    store = Store(source if isinstance(source, Source) else open_source(source), "never")
    return [
        Signature(_fingerprint(bytes.fromhex(one["public"])), one["date"]) for one in _stated(store)
    ]


def _refused(file: str | None, what: str, remedy: str) -> SignatureError:
    return SignatureError(what, file=file, remedy=remedy)


def _store(path: str) -> Store:
    source = open_source(path)
    if source.kind != "file" or not source.is_mapped:
        raise PersistError(
            "only a local file can be signed.", file=path, remedy="Copy it here first."
        )
    return Store(source, "never")


def _signed_store(source: Source) -> Store:
    """Open a container whose signature is wanted; what is none cannot bear one."""
    from persist._container.signature import claim

    if claim(source) is None:
        what = "it is no container of persist, and only containers bear signatures."
        if _is_packed_again(source):
            what = (
                "it was packed again by another program: its members are those of a container of "
                "persist, the archive is not."
            )
        raise _refused(source.name, what, "Get the file as it was signed.")
    try:
        return Store(source, "never")
    except DamagedFileError as error:
        raise _refused(
            source.name,
            f"it is not as it was written, so that no signature holds: {error.what}",
            "It was altered, packed again or damaged: get the file again from who signed it.",
        ) from error


def _is_packed_again(source: Source) -> bool:
    from persist._wire.archives.zip import ZipDirectory

    directory = ZipDirectory.of(source)
    return directory is not None and {MANIFEST, "graph.json"} <= {*directory.names}


# What is signed.


def _statement(store: Store, date: str) -> bytes:
    """Return the bytes that are signed: see ``docs/container.md``, section 16.

    Raises:
        DamagedFileError: a member is not what the directory says, or there are bytes between members.
    """
    rest = {key: value for key, value in store.manifest.items() if key != "signatures"}
    text = json.dumps(rest, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    lines = [f"{_FIRST} {date}", f"{hashlib.sha256(text.encode()).hexdigest()} {MANIFEST}"]
    end = 0
    for entry in _entries(store):
        if entry.offset != end:
            raise store.damaged("bytes belong to no member.", f"offset {end}")
        summed = hashlib.sha256()
        for piece in store._data(entry, store._body(entry)):
            summed.update(piece)
        name = json.dumps(entry.name.decode("utf-8", "surrogateescape"))
        lines.append(f"{summed.hexdigest()} {entry.size} {name}")
        end = store.end_of(entry)
    if store._control[MANIFEST].offset != end:
        raise store.damaged("bytes belong to no member.", f"offset {end}")
    return "\n".join(lines).encode()


def _entries(store: Store) -> Iterator[Entry]:
    """All members but the manifest, in their order in the file."""
    for number in range(len(store)):
        yield store.entry(number)
    yield from store.older.values()
    for name, entry in store._control.items():
        if name != MANIFEST:
            yield entry


def _stated(store: Store) -> list[dict[str, str]]:
    """The signatures that the manifest has, as far as they are of the form that this program knows."""
    stated = store.manifest.get("signatures")
    found = []
    for one in stated[:_MOST] if isinstance(stated, list) else ():
        if not isinstance(one, dict) or one.get("algorithm") != _ALGORITHM:
            continue
        texts = [one.get(key) for key in ("public", "date", "signature")]
        if all(isinstance(text, str) and text.isascii() for text in texts):
            try:
                sizes = [len(bytes.fromhex(str(text))) for text in (texts[0], texts[2])]
            except ValueError:
                continue
            if sizes == [32, 64]:
                found.append(one)
    return found


def _replace_manifest(store: Store, path: str, manifest: dict[str, object], durable: bool) -> None:
    """Write a container with another manifest; all other bytes stay."""
    at = store._control[MANIFEST].offset
    before = store.directory(store._directory_size - store._last)
    with replacing(path, durable) as file:
        begin(path, file, at)
        writer = Writer(file, None, None, at)
        writer.control(MANIFEST, json.dumps(manifest, ensure_ascii=True, indent=1).encode(), {})
        tail = manifest_tail(store._first, store.version)
        name, method, crc, packed, size, start = writer.entries[0]
        directory = before + central_entry(name, method, crc, packed, size, start, tail)
        end = writer.offset
        writer.put(directory)
        writer.put(end_of_directory(store._entries, len(directory), end))
        writer.flush()


# Keys.


def new_key(path: str | os.PathLike[str], *, password: bytes | None = None) -> str:
    """Make a pair of keys: the private one in a new PEM file, the public one next to it in ``PATH.pub``.

    Args:
        path: the file for the private key, which only its owner may read.
        password: encrypts the private key; None leaves it readable for whoever has the file.

    Returns:
        The fingerprint of the public key.

    Raises:
        FileExistsError: one of the files is there already.
        MissingExtraError: the library ``cryptography`` is not installed.
    """
    serialization, ed25519 = _library()
    key = ed25519.Ed25519PrivateKey.generate()
    encryption = (
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password)
    )
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, encryption)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path = os.fspath(path)
    for name, data, mode in ((path, secret, 0o600), (f"{path}.pub", public, 0o644)):
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
    return _fingerprint(_raw(key.public_key()))


def public_keys(keys: object) -> list[object]:
    """Return the public keys that a user gives: one, or several in a list.

    Args:
        keys: path of a PEM file, its content as bytes, a key of ``cryptography``; or a list of these.

    Raises:
        SignatureError: there is none, or one is no public key of Ed25519.
        MissingExtraError: the library ``cryptography`` is not installed.
    """
    given = list(keys) if isinstance(keys, list | tuple | set | frozenset) else [keys]
    if not given:
        raise SignatureError(
            "no key is given.", remedy="Give the public key of the signer, or several of them."
        )
    return [_public_key(key) for key in given]


def _public_key(key: object) -> object:
    serialization, ed25519 = _library()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    data, name = _pem(key)
    if b"PRIVATE KEY" in data:
        raise SignatureError(
            "this is a private key, which belongs to the signer alone.",
            file=name,
            remedy="Its public key: openssl pkey -in KEY -pubout -out KEY.pub",
        )
    try:
        made = serialization.load_pem_public_key(data)
    except ValueError as error:
        raise _no_key(name, "public", str(error)) from error
    if not isinstance(made, ed25519.Ed25519PublicKey):
        raise _no_key(name, "public", f"it is a {type(made).__name__}")
    return made


def _private_key(key: object, password: bytes | None) -> Any:
    serialization, ed25519 = _library()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    data, name = _pem(key)
    try:
        made = serialization.load_pem_private_key(data, password)
    except TypeError as error:  # encrypted without a password, or the other way round
        raise SignatureError(
            f"the private key cannot be read: {error}.",
            file=name,
            remedy="Give the password of the key if it has one, and none otherwise.",
        ) from error
    except ValueError as error:
        raise _no_key(name, "private", str(error)) from error
    if not isinstance(made, ed25519.Ed25519PrivateKey):
        raise _no_key(name, "private", f"it is a {type(made).__name__}")
    return made


def _pem(key: object) -> tuple[bytes, str | None]:
    if isinstance(key, bytes):
        return key, None
    if isinstance(key, str | os.PathLike):
        with open(key, "rb") as file:
            return file.read(1 << 20), os.fsdecode(os.fspath(key))
    raise TypeError(
        f"the key is a {type(key).__name__}. The path of a PEM file, its bytes, or an Ed25519 key of "
        "the library cryptography was expected."
    )


def _no_key(name: str | None, kind: str, why: str) -> SignatureError:
    return SignatureError(
        f"it holds no {kind} key of Ed25519 ({why.rstrip('.')}).",
        file=name,
        remedy="Keys are PEM files, from `persist sign --new-key KEY` or "
        "`openssl genpkey -algorithm ed25519`.",
    )


def _raw(key: Any) -> bytes:
    return bytes(key.public_bytes_raw())


def _fingerprint(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:32]


def _exceptions() -> Any:
    return importlib.import_module("cryptography.exceptions")


def _library() -> tuple[Any, Any]:
    try:
        serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")
        ed25519 = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    except ImportError as error:
        raise MissingExtraError(
            "signatures need the library cryptography, which is not installed.",
            remedy="Install it with: pip install 'persist-state[sign]'",
        ) from error
    return serialization, ed25519
