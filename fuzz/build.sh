#!/bin/bash -eu
# What OSS-Fuzz runs in its base-builder-python image (google.github.io/oss-fuzz/getting-started/new-project-guide/
# python-lang): $SRC/cloud-llm is the checkout, $OUT takes one executable and one seed corpus for each target.
cd "${SRC:?}/cloud-llm"
pip3 install ".[fast]"  # with msgspec: half of the executions read with its help
for target in fuzz/fuzz_*.py; do
  compile_python_fuzzer "$target"
  name=$(basename -s .py "$target")
  cp "fuzz/corpus/${name#fuzz_}.zip" "${OUT:?}/${name}_seed_corpus.zip"
done
