"""Keeps the composed demo clips in the user's cache, so that a second clone need not compose them.

An entry is a tar archive named `demo-<fingerprint of what it was made from>-<its SHA-256>.tar`.
"""

import glob
import io
import os
import sys
import tarfile

import download


def restore(fingerprint, paths):
    """Writes the files from the cache; returns whether it had them all, undamaged."""
    pattern = os.path.join(glob.escape(download.cache_folder()), f"demo-{fingerprint}-*.tar")
    for entry in glob.glob(pattern):
        if download.sha256(entry) != entry[:-4].rpartition("-")[2]:
            continue
        try:
            with tarfile.open(entry, "r:") as tar:
                found = [tar.extractfile(os.path.basename(path)).read() for path in paths]
        except (KeyError, AttributeError, tarfile.TarError):
            continue
        for path, data in zip(paths, found):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(f"{path}.part", "wb") as file:
                file.write(data)
            os.replace(f"{path}.part", path)
        return True
    return False


def keep(fingerprint, paths):
    """Puts the files into the cache; a cache that cannot be written costs a warning."""
    cache = download.cache_folder()
    part = os.path.join(cache, f"demo-{os.getpid()}.part")
    try:
        os.makedirs(cache, exist_ok=True)
        with tarfile.open(part, "w:") as tar:
            for path in paths:
                with open(path, "rb") as file:
                    data = file.read()
                member = tarfile.TarInfo(os.path.basename(path))
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        name = f"demo-{fingerprint}-{download.sha256(part)}.tar"
        os.replace(part, os.path.join(cache, name))
    except OSError as error:
        print(f"set-up: warning: cannot keep the clips in {cache}: {error}", file=sys.stderr)
