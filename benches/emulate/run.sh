#!/usr/bin/env bash
# Runs the tests of the index's kernels, as they are released, on processors that this machine need not be: AVX-512 in
# Bochs, NEON in qemu. Needs what README.md beside this file lists.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
  printf 'emulate: error: %s\n' "$1" >&2
  exit 1
}

for command in bochs-bin busybox cpio xorriso qemu-aarch64-static aarch64-linux-gnu-gcc; do
  command -v "$command" >/dev/null || fail "$command not found: see benches/emulate/README.md"
done

# emulated TARGET INSTRUCTIONS: the tests must pass, with these instructions the widest.
emulated() {
  local target="$1" instructions="$2" output="target/emulate/$1.txt"
  printf '== kernels for %s, emulated\n' "$instructions"
  mkdir -p target/emulate
  RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" cargo test --release -p rollcall-index --lib \
    --target "$target" --target-dir target/emulate -- kernel:: --show-output --test-threads 1 | tee "$output"
  grep -q "^kernels compared: $instructions" "$output" || fail "$instructions was not in use"
}

export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/benches/emulate/bochs.sh"
emulated x86_64-unknown-linux-gnu avx512

# The compiler of the project where it has ARM's standard library, else Debian's.
for compiler in rustc /usr/bin/rustc; do
  library="$("$compiler" --print target-libdir --target aarch64-unknown-linux-gnu 2>/dev/null || true)"
  [[ -d "$library" ]] && break
done
[[ -d "$library" ]] || fail "no standard library for aarch64-unknown-linux-gnu: see benches/emulate/README.md"
export RUSTC="$compiler"
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static
emulated aarch64-unknown-linux-gnu neon
