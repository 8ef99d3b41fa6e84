#!/bin/bash -eu
# Every target, or those named, FUZZ_RUNS executions each. New inputs go to .fuzz/, findings to .fuzz/TARGET-crash-*.
#   PYTHON=.venv/bin/python FUZZ_RUNS=1000000 fuzz/run.sh [TARGET ...]
cd "$(dirname "$0")/.."
mkdir -p .fuzz
"${PYTHON:-python3}" fuzz/seeds.py unpack .fuzz/corpus
[ $# -gt 0 ] || set -- $(ls fuzz | sed -n 's/^fuzz_\(.*\)\.py$/\1/p')
for target in "$@"; do
  # Bytes that are enough for what is read: longer inputs cost more executions than they find.
  case $target in call) longest=64 ;; headers) longest=96 ;; anthropic) longest=768 ;; ollama|openai) longest=512 ;; *) longest=256 ;; esac
  mkdir -p ".fuzz/$target"
  echo "== $target"
  PYTHONPATH=. "${PYTHON:-python3}" "fuzz/fuzz_$target.py" ".fuzz/$target" ".fuzz/corpus/$target" -runs="${FUZZ_RUNS:-100000}" \
    -max_total_time="${FUZZ_SECONDS:-0}" -max_len="$longest" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix=".fuzz/$target-" >".fuzz/$target.log" 2>&1 || { tail -n 40 ".fuzz/$target.log"; exit 1; }
  grep -E '^(Done|stat::(number_of_executed_units|average_exec_per_sec))|cov: ' ".fuzz/$target.log" | tail -n 4
done
