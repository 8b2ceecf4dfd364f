#!/usr/bin/env bash
# Makes the Python that the index benchmark runs in, ROLLCALL_ASSETS/bench-venv: numpy and the peers.
# Does only what is not done yet. A peer that cannot be installed is told of and left out: its
# benchmark reports it. `setup.sh none` is content with numpy.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv="${ROLLCALL_ASSETS:?}/bench-venv"
installed="$venv/installed.txt"

fail() {
  printf 'bench-index: error: %s\n' "$1" >&2
  exit 1
}

if [[ ! -x "$venv/bin/python" ]]; then
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "python3 is $(python3 -V 2>&1), the index benchmark needs 3.11 or newer"
  mkdir -p "$ROLLCALL_ASSETS"
  rm -rf "$venv"
  python3 -m venv "$venv" || fail "python3 cannot make a venv: apt-get install python3-venv"
fi
touch "$installed"

missing=()
while read -r package; do
  [[ -z "$package" || "$package" == \#* ]] && continue
  [[ "${1:-all}" == none && "$package" != numpy==* ]] && continue
  grep -qxF "$package" "$installed" || missing+=("$package")
done <requirements.txt
[[ ${#missing[@]} -eq 0 ]] && exit 0

pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
printf 'bench-index: installing %s\n' "${missing[*]}" >&2
if "${pip[@]}" "${missing[@]}" >&2; then
  printf '%s\n' "${missing[@]}" >>"$installed"
  exit 0
fi
# Together they did not install: one by one, numpy first.
for package in "${missing[@]}"; do
  if "${pip[@]}" "$package" >&2; then
    printf '%s\n' "$package" >>"$installed"
  elif [[ "$package" == numpy==* ]]; then
    fail "numpy could not be installed"
  else
    printf 'bench-index: %s could not be installed\n' "$package" >&2
  fi
done
