#!/usr/bin/env bash
# venv.sh NAME: makes the Python that a benchmark runs in, ROLLCALL_ASSETS/NAME-venv, with what
# NAME/requirements.txt pins. Does only what is not done yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/$1"

venv="${ROLLCALL_ASSETS:?}/$1-venv"
cmp -s requirements.txt "$venv/installed.txt" && exit 0

rm -rf "$venv"
mkdir -p "$ROLLCALL_ASSETS"
python3 -m venv "$venv" || {
  printf 'bench-%s: error: python3 cannot make a venv: apt-get install python3-venv\n' "$1" >&2
  exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt >&2
cp requirements.txt "$venv/installed.txt"
