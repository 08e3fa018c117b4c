#!/bin/bash -eu
# For OSS-Fuzz: projects/persist/build.sh. One fuzzer a target, each with its seeds.
pip3 install ".[all]"
for target in $(python3 fuzz/run.py --list); do
  name=fuzz_${target//-/_}
  sed "s/^TARGET = .*/TARGET = \"$target\"/" fuzz/oss_fuzz/one_target.py > "fuzz/$name.py"
  compile_python_fuzzer "fuzz/$name.py" --paths fuzz --paths tests/hostile \
    --add-data "tests/corpus:tests/corpus" --collect-submodules persist
  mkdir -p "seeds/$name"
  python3 -c "import sys; sys.path.insert(0, 'fuzz'); import driver, targets; driver.store_seeds(targets.targets()['$target'], 'seeds/$name')"
  (cd "seeds/$name" && zip -qr "$OUT/${name}_seed_corpus.zip" .)
done
