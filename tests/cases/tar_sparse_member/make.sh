#!/bin/sh
# Three arrays, the second with holes, packed by GNU tar 1.34 in each of its forms for sparse files.
set -e
folder=$(mktemp -d)
python3 - "$folder" <<'PYTHON'
import sys
import numpy as np

np.save(sys.argv[1] + "/a.npy", np.arange(3))
np.save(sys.argv[1] + "/z.npy", np.arange(4))
with open(sys.argv[1] + "/m.npy", "wb") as file:
    header = {"descr": "<f8", "fortran_order": False, "shape": (50_000,)}
    np.lib.format.write_array_header_1_0(file, header)
    begin = file.tell()
    for part in range(8):
        file.seek(begin + part * 50_000)
        file.write(np.array([part + 1.0]).tobytes())
    file.truncate(begin + 400_000)
PYTHON
ln -s m.npy "$folder/best.npy"
ln "$folder/z.npy" "$folder/zz.npy"
for form in gnu posix-0.0 posix-0.1 posix-1.0; do
    options="--format=${form%%-*}"
    case $form in posix-*) options="$options --sparse-version=${form#posix-}" ;; esac
    tar $options -C "$folder" -cS a.npy m.npy best.npy z.npy zz.npy | gzip -9n >"$form.tar.gz"
done
