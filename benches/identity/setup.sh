#!/usr/bin/env bash
# Makes the Python that the identity benchmark runs in, ROLLCALL_ASSETS/identity-venv. Does only what
# is not done yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv="${ROLLCALL_ASSETS:?}/identity-venv"
cmp -s requirements.txt "$venv/installed.txt" && exit 0

rm -rf "$venv"
mkdir -p "$ROLLCALL_ASSETS"
python3 -m venv "$venv" || {
  printf 'bench-identity: error: python3 cannot make a venv: apt-get install python3-venv\n' >&2
  exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt >&2
cp requirements.txt "$venv/installed.txt"
