#!/usr/bin/env bash
# Makes the Python that the quality benchmark runs in, ROLLCALL_ASSETS/quality-venv. Does only what
# is not done yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv="${ROLLCALL_ASSETS:?}/quality-venv"
cmp -s requirements.txt "$venv/installed.txt" && exit 0

rm -rf "$venv"
mkdir -p "$ROLLCALL_ASSETS"
python3 -m venv "$venv" || {
  printf 'bench-quality: error: python3 cannot make a venv: apt-get install python3-venv\n' >&2
  exit 1
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt >&2
# Photos of people, out of a package of which nothing else is used.
"$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps -d "$venv" \
  insightface==2.1 >&2
"$venv/bin/python" - "$venv" "$ROLLCALL_ASSETS/quality-photos" <<'PYTHON'
import hashlib, pathlib, sys, zipfile
venv, photos = map(pathlib.Path, sys.argv[1:])
path = venv / "insightface-2.1-py3-none-any.whl"
if hashlib.sha256(path.read_bytes()).hexdigest() != (
        "dcd58ee79d99d689572477315f3149353afd65a36dc575f597cbb217a7bde399"):
    sys.exit(f"bench-quality: error: {path} is not the pinned file")
photos.mkdir(exist_ok=True)
with zipfile.ZipFile(path) as package:
    for name in ("t1.jpg", "Tom_Hanks_54745.png"):
        (photos / name).write_bytes(package.read(f"insightface/data/images/{name}"))
PYTHON
cp requirements.txt "$venv/installed.txt"
