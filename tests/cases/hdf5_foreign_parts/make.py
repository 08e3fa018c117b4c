"""Make the files beside this one with h5py; see each function for what is right about its file."""

from pathlib import Path

import h5py
import numpy as np

from persist._wire.hdf5.cursor import lookup3

HERE = Path(__file__).parent


def user_link(path: Path) -> None:
    """A link of kind 187 (65 to 255 are the user's) beside w = [1, 2] and z = [3].

    h5py cannot make one: an external link is made, its kind altered, the checksum made anew.
    """
    with h5py.File(path, "w", track_order=True, libver="earliest") as file:
        file["w"] = [1.0, 2.0]
        file["link"] = h5py.ExternalLink("other.h5", "/x")
        file["z"] = [3.0]
    data = bytearray(path.read_bytes())
    at = data.index(b"link", data.index(b"other.h5") - 40)
    kind = data.rindex(b"\x40", 0, at)  # version, flags, kind, order of creation, length, name
    head = data.rindex(b"OHDR", 0, kind)
    old = bytes(data)
    data[kind] = 187
    for end in range(kind, len(data) - 3):
        if lookup3(old[head:end]).to_bytes(4, "little") == old[end : end + 4]:
            data[end : end + 4] = lookup3(bytes(data[head:end])).to_bytes(4, "little")
            break
    path.write_bytes(data)


def family_part(path: Path, libver: str) -> None:
    """The first of the files that the driver ``family`` splits a file into."""
    name = path.with_suffix(".%05d.h5")
    with h5py.File(name, "w", driver="family", memb_size=1024, libver=libver) as file:
        file["x"] = np.arange(1000)
    parts = sorted(path.parent.glob(f"{path.stem}.0*.h5"))
    parts[0].rename(path)
    for part in parts[1:]:
        part.unlink()


def long_double_12(path: Path) -> None:
    """x = [1.5, -2, 1e300] as 32-bit programs on x86 store long doubles: in 12 bytes."""
    stored = h5py.h5t.NATIVE_LDOUBLE.copy()
    stored.set_size(12)
    with h5py.File(path, "w") as file:
        dataset = h5py.h5d.create(file.id, b"x", stored, h5py.h5s.create_simple((3,)))
        values = np.array([1.5, -2, 1e300], np.longdouble)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values, h5py.h5t.NATIVE_LDOUBLE)


if __name__ == "__main__":
    user_link(HERE / "user_link.h5")
    family_part(HERE / "family_earliest.h5", "earliest")
    family_part(HERE / "family_latest.h5", "latest")
    long_double_12(HERE / "long_double_12.h5")
