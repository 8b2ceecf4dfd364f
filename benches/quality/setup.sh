#!/usr/bin/env bash
# Makes what the quality benchmarks run on: the Python, ROLLCALL_ASSETS/quality-venv, and photos for
# films of heads, ROLLCALL_ASSETS/quality-photos. Does only what is not done yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

../venv.sh quality
photos="${ROLLCALL_ASSETS:?}/quality-photos"
[[ -e "$photos/t1.jpg" && -e "$photos/Tom_Hanks_54745.png" ]] && exit 0

package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT
python="$ROLLCALL_ASSETS/quality-venv/bin/python"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps -d "$package" \
  insightface==2.1 >&2
"$python" - "$package" "$photos" <<'PYTHON'
import hashlib, pathlib, sys, zipfile
folder, photos = map(pathlib.Path, sys.argv[1:])
path = folder / "insightface-2.1-py3-none-any.whl"
if hashlib.sha256(path.read_bytes()).hexdigest() != (
        "dcd58ee79d99d689572477315f3149353afd65a36dc575f597cbb217a7bde399"):
    sys.exit(f"bench-quality: error: {path} is not the pinned file")
photos.mkdir(exist_ok=True)
with zipfile.ZipFile(path) as package:
    for name in ("t1.jpg", "Tom_Hanks_54745.png"):
        (photos / name).write_bytes(package.read(f"insightface/data/images/{name}"))
PYTHON
