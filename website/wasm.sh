#!/bin/sh
# Make website/student.wasm anew, after `make export` changed the students of exports/.
# Zig's C compiler comes from PyPI (100 MB, into build/zig); the result is the same on every machine.
set -eu
cd "$(dirname "$0")/.."
export PYTHONPATH=build/zig ZIG_GLOBAL_CACHE_DIR=build/zig/cache ZIG_LOCAL_CACHE_DIR=build/zig/cache
python3 -m ziglang version >/dev/null 2>&1 || python3 -m pip install -q --target build/zig ziglang==0.17.1
files="website/student.c exports/student_any.c exports/student_dag.c"
python3 -m ziglang cc -target wasm32-wasi -mexec-model=reactor -O3 -ffp-contract=off -s \
  -DSOURCES="\"$(cat $files | sha256sum | cut -c1-64)\"" -o website/student.wasm $files -lm
