#!/bin/sh
# What needs a GPU, in parts of at most 8 minutes. A call that is cut short goes on where it stopped: run it again.
# Without a GPU: sh benchmarks/gpu.sh --small
set -e
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
for part in kernel step waits float16 pinned; do
  timeout 480 "$python" benchmarks/gpu.py "$part" "$@"
done
