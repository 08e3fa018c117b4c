"""Signatures: what was signed is accepted, and nothing else, whatever was changed."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import persist
from persist import _container, security
from persist._cli import main
from persist.errors import DamagedFileError, FormatError, MissingExtraError, SignatureError
from persist.tree import Record

pytestmark = pytest.mark.extra("cryptography")

TREE = {"w": np.arange(3, dtype="u1"), "large": np.arange(70_000.0), "n": [1, "x"]}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The paths of two private keys."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("a.pem", "b.pem"):
        security.new_key(folder / name)
    return str(folder / "a.pem"), str(folder / "b.pem")


def signed(path: Path, key: str, tree: Any = TREE, **options: Any) -> Path:
    persist.save(tree, path, durable=False, **options)
    security.sign(path, key, durable=False)
    return path


@pytest.mark.parametrize("options", [{}, {"digest": "sha256"}, {"compress": "deflate"}, {"metadata": {"run": 7}}], ids=str)  # fmt: skip
def test_what_was_signed_is_loaded(options: Any, keys: tuple[str, str], tmp_path: Path) -> None:
    path = signed(tmp_path / "net.persist", keys[0], **options)
    public = f"{keys[0]}.pub"
    for key in (public, Path(public), Path(public).read_bytes(), [f"{keys[1]}.pub", public]):
        made = persist.load(path, require_signature=key)
        assert made["large"][-1] == 69_999
    assert persist.load(path.read_bytes(), require_signature=public)["n"] == [1, "x"]
    assert _container.verify(path) == []
    assert persist.open(path).structure["metadata"] == options.get("metadata")
    with np.load(path) as arrays:
        assert arrays["w"].tolist() == [0, 1, 2]
    signature = security.check_signature(path, public)
    assert security.signatures(path) == [signature]


def test_signing_leaves_the_bytes_of_the_arrays(keys: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    persist.save(TREE, path)
    before, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    security.sign(path, keys[0])
    after = path.read_bytes()
    at = before.index(b"manifest.json") - 30
    assert after[:at] == before[:at]
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["net.persist"]


def test_two_may_sign_and_a_second_time_replaces_the_first(
    keys: tuple[str, str], tmp_path: Path
) -> None:
    path = signed(tmp_path / "net.persist", keys[0])
    for key in (keys[1], keys[0], keys[1]):
        security.sign(path, key)
        assert len(security.signatures(path)) == 2
    for key in keys:
        persist.load(path, require_signature=f"{key}.pub")


def refused(path: Any, key: str, match: str) -> None:
    with pytest.raises(SignatureError, match=match):
        persist.load(path, require_signature=key)
    with pytest.raises(SignatureError, match=match):
        security.check_signature(path, key)


def test_what_was_not_signed_with_the_key_is_refused(keys: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    persist.save(TREE, path)
    public, other = (f"{key}.pub" for key in keys)
    refused(path, public, "not signed")
    security.sign(path, keys[0])
    refused(path, other, "signed with key .* A signature with key")
    persist.save({"w": np.ones(2)}, tmp_path / "net.npz", format="npz")
    refused(tmp_path / "net.npz", public, "no container of persist")
    refused(b"\x80\x02K\x01.", public, "no container of persist")
    with pytest.raises(SignatureError, match="weights="):
        persist.load(path, require_signature=public, weights=path)


def forged(path: Path, change: Any) -> bytes:
    """The file with its content changed, and all checksums, digests and headers made anew for it."""
    manifest = json.loads(zipfile.ZipFile(path).read("manifest.json"))
    tree, _ = _container.read(path.read_bytes())
    out = io.BytesIO()
    _container.write(change(tree), out, metadata=manifest["metadata"], schemas=manifest["schemas"], writer=manifest["writer"])  # fmt: skip
    kept = {key: manifest[key] for key in ("history",) if key in manifest}
    return with_signatures(out.getvalue(), manifest["signatures"], **kept)


def with_signatures(data: bytes, signatures: Any, **more: Any) -> bytes:
    """A container, written by its own rules, whose manifest has these signatures."""
    from persist._container.signed import _replace_manifest, _store

    path = Path(os.environ["PYTEST_FORGED"])
    path.write_bytes(data)
    store = _store(str(path))
    _replace_manifest(store, str(path), {**store.manifest, **more, "signatures": signatures}, False)
    return path.read_bytes()


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_FORGED", str(tmp_path / "forged"))


CHANGES = {
    "an array": lambda tree: {**tree, "w": np.array([0, 1, 3], "u1")},
    "a value": lambda tree: {**tree, "n": [1, "y"]},
    "a name": lambda tree: {"v" if name == "w" else name: value for name, value in tree.items()},
    "one array less": lambda tree: {name: tree[name] for name in ("w", "n")},
    "one more": lambda tree: {**tree, "z": np.zeros(1)},
    "a dtype": lambda tree: {**tree, "w": tree["w"].view("i1")},
    "a shape": lambda tree: {**tree, "w": tree["w"].reshape(3, 1)},
    "a class": lambda tree: {**tree, "n": Record("os.system", {})},
}


@pytest.mark.usefixtures("forge")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_by_who_knows_the_format_is_refused(
    change: Any, keys: tuple[str, str], tmp_path: Path
) -> None:
    """Every checksum is right, and the old signature is there."""
    path = signed(tmp_path / "net.persist", keys[0])
    data = forged(path, change)
    assert _container.verify(data) == []
    refused(data, f"{keys[0]}.pub", "altered after it was signed")
    # The same file made anew with nothing changed is the one that was signed.
    persist.load(forged(path, lambda tree: tree), require_signature=f"{keys[0]}.pub")


@pytest.mark.usefixtures("forge")
def test_what_the_manifest_says_is_signed(keys: tuple[str, str], tmp_path: Path) -> None:
    from persist._container.signed import _replace_manifest, _store

    path = signed(tmp_path / "net.persist", keys[0], metadata={"run": 7})
    whole = path.read_bytes()
    store = _store(str(path))
    lies: list[dict[str, Any]] = [
        {"metadata": {"run": 8}},
        {"schemas": [{"name": "x", "version": 1}]},
        {"writer": {"persist": "9"}},
        {"globals": ["os.system"]},
        {"more": 1},
    ]
    for lie in lies:
        _replace_manifest(store, str(path), {**store.manifest, **lie}, False)
        refused(path, f"{keys[0]}.pub", "altered after it was signed")
    entry = store.manifest["signatures"][0]
    for part in (
        {"date": "2001-01-01T00:00:00+00:00"},
        {"signature": "00" * 64},
        {"signature": f"{int(entry['signature'][:2], 16) ^ 1:02x}" + entry["signature"][2:]},
        {"public": "00" * 32},
        {"public": "é"},
        {"date": 7},
        {"algorithm": "none"},
        {"signature": ""},
    ):
        data = with_signatures(whole, [{**entry, **part}])
        refused(data, f"{keys[0]}.pub", "altered|not signed|signed with key")
    for odd in (None, 7, "x", [None, [], 7], {"a": 1}):
        refused(with_signatures(whole, odd), f"{keys[0]}.pub", "not signed")


def test_a_container_that_was_packed_again_says_so(keys: tuple[str, str], tmp_path: Path) -> None:
    path = signed(tmp_path / "net.persist", keys[0])
    again = tmp_path / "again.persist"
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(again, "w", method) as new:
            for info in old.infolist():
                new.writestr(info.filename, old.read(info))
        refused(again, f"{keys[0]}.pub", "packed again")
    with pytest.raises((FormatError, SignatureError)):  # with bytes before it, or a comment
        persist.load(b"x" * 64 + path.read_bytes(), require_signature=f"{keys[0]}.pub")


def test_no_flipped_bit_is_loaded(keys: tuple[str, str], tmp_path: Path) -> None:
    path = signed(tmp_path / "net.persist", keys[0], {"w": np.arange(3, dtype="u1"), "n": [1]})
    data, public = path.read_bytes(), Path(f"{keys[0]}.pub").read_bytes()
    for bit in range(0, 8 * len(data), 41):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises((SignatureError, FormatError, persist.errors.FutureVersionError)):
            persist.load(bytes(broken), require_signature=public, verify="never")


def test_what_is_damaged_is_not_signed(keys: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "net.persist"
    persist.save(TREE, path)
    data = bytearray(path.read_bytes())
    data[data.index(np.arange(70_000.0).tobytes()) + 9000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match="large"):
        security.sign(path, keys[0])
    assert path.read_bytes() == data


def test_an_upgrade_and_compacting_drop_it_and_undo_brings_it_back(
    keys: tuple[str, str], tmp_path: Path
) -> None:
    from operations import in_place

    operation = in_place()
    operation.prepare(tmp_path)
    path, public = tmp_path / "nets.persist", f"{keys[0]}.pub"
    security.sign(path, keys[0])
    before = path.read_bytes()
    operation.act(tmp_path)
    with pytest.raises(SignatureError, match="not signed"):
        security.check_signature(path, public)
    security.sign(path, keys[1])
    _container.undo(path)
    assert path.read_bytes() == before
    security.check_signature(path, public)
    _container.compact(path)
    assert security.signatures(path) == []


def test_keys_that_are_none_are_refused(keys: tuple[str, str], tmp_path: Path) -> None:
    path = signed(tmp_path / "net.persist", keys[0])
    with pytest.raises(SignatureError, match="private key.*\n?.*-pubout"):
        persist.load(path, require_signature=keys[0])
    with pytest.raises(SignatureError, match="no public key"):
        persist.load(path, require_signature=b"nothing")
    with pytest.raises(SignatureError, match="no key is given"):
        persist.load(path, require_signature=[])
    with pytest.raises(TypeError, match="is a bool"):
        persist.load(path, require_signature=True)
    with pytest.raises(FileNotFoundError):
        persist.load(path, require_signature="none.pem")
    with pytest.raises(SignatureError, match="no private key"):
        security.sign(path, f"{keys[0]}.pub")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(SignatureError, match="no private key of Ed25519"):
        security.sign(path, other)


def test_private_keys_are_private_may_be_encrypted_and_are_never_replaced(tmp_path: Path) -> None:
    key = tmp_path / "lab.pem"
    fingerprint = security.new_key(key, password=b"secret")
    if os.name != "nt":
        assert stat.S_IMODE(key.stat().st_mode) & 0o077 == 0
    with pytest.raises(FileExistsError):
        security.new_key(key)
    path = tmp_path / "net.persist"
    persist.save(TREE, path)
    with pytest.raises(SignatureError, match="password"):
        security.sign(path, key)
    with pytest.raises(SignatureError, match="no private key"):
        security.sign(path, key, password=b"wrong")
    assert security.sign(path, key, password=b"secret").key == fingerprint


def test_keys_of_openssl_are_taken(tmp_path: Path) -> None:
    secret, public = tmp_path / "k.pem", tmp_path / "k.pub"
    try:
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", secret], check=True, capture_output=True)  # fmt: skip
        subprocess.run(["openssl", "pkey", "-in", secret, "-pubout", "-out", public], check=True, capture_output=True)  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl that knows Ed25519")
    path = signed(tmp_path / "net.persist", str(secret))
    persist.load(path, require_signature=public)


def test_the_signed_text_is_that_of_the_specification(
    keys: tuple[str, str], tmp_path: Path
) -> None:
    """Made here from docs/container.md, section 16, with zipfile and hashlib alone."""
    import hashlib

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    path = signed(tmp_path / "net.persist", keys[0], metadata={"é": 1.5})
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        (entry,) = manifest.pop("signatures")
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
        lines = [
            f"persist signature 1 {entry['date']}",
            f"{hashlib.sha256(text.encode()).hexdigest()} manifest.json",
        ]
        for name in archive.namelist()[:-1]:
            data = archive.read(name)
            lines.append(f"{hashlib.sha256(data).hexdigest()} {len(data)} {json.dumps(name)}")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(entry["public"]))
    key.verify(bytes.fromhex(entry["signature"]), "\n".join(lines).encode())


def test_the_commands_sign_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, key = tmp_path / "net.persist", str(tmp_path / "lab.pem")
    persist.save(TREE, path)
    assert main(["sign", "--new-key", key, str(path)]) == 0
    out = capsys.readouterr().out
    assert f"{path}: signed with key" in out
    assert main(["verify", str(path), "--key", f"{key}.pub"]) == 0
    assert "whole: 2 arrays" in (out := capsys.readouterr().out)
    assert "signed with key" in out
    assert main(["verify", str(path)]) == 0
    assert "not checked: --key" in capsys.readouterr().out
    persist.save(TREE, path)
    assert main(["verify", str(path), "--key", f"{key}.pub"]) == 1
    assert "it is not signed" in capsys.readouterr().err
    import gzip

    packed = tmp_path / "net.persist.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert main(["verify", str(packed)]) == 0
    for wrong in ("none.pub", key):  # a key that is not there, and one that is private
        assert main(["verify", str(path), "--key", wrong]) in (1, 2)
        assert capsys.readouterr().err
    assert main(["sign", "--key", key]) == 2
    assert main(["sign", "--new-key", key]) == 1
    assert main(["sign", "--key", key, str(tmp_path / "none.persist")]) == 1


def test_without_its_library_the_remedy_is_named(tmp_path: Path, keys: tuple[str, str]) -> None:
    path = signed(tmp_path / "net.persist", keys[0])
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "import persist\n"
        f"try: persist.load({str(path)!r}, require_signature={keys[0] + '.pub'!r})\n"
        "except persist.errors.MissingExtraError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "persist-state[sign]" in run.stdout
    assert issubclass(MissingExtraError, ImportError)
