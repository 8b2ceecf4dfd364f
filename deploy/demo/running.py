"""The programs that the demo starts, and that it stops again whatever happens."""

import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

START_LIMIT_S = 120
STOP_LIMIT_S = 20
POLL_S = 0.05


class DemoError(Exception):
    """Something that ends the demo, in words for the one who runs it."""


def environment():
    """Ours, without settings of Rollcall that would change what the demo does."""
    return {k: v for k, v in os.environ.items() if not k.startswith("ROLLCALL_")}


def stop(process, limit_s=STOP_LIMIT_S):
    """Asks a process to end, and makes it if it does not."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """`rollcalld` on free local ports with a data folder of its own."""

    def __init__(self, bin_dir, assets, out, keep):
        self.program = bin_dir / "rollcalld"
        self.assets, self.keep = assets, keep
        self.log_path = out / "rollcalld.log"
        self.data = Path(tempfile.mkdtemp(prefix="data-", dir=out))
        self.port_file = self.data.with_suffix(".ports")
        self.process = None

    def start(self):
        """Returns the addresses ("http://HOST:PORT" of gRPC, and of HTTP) once it is ready."""
        command = [self.program, "serve", "--data", self.data, "--assets", self.assets,
                   "--port-file", self.port_file]
        settings = {"ROLLCALL_GRPC__LISTEN": "127.0.0.1:0", "ROLLCALL_HTTP__LISTEN": "127.0.0.1:0"}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], env=environment() | settings,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_LIMIT_S
        ports = self._until(deadline, self._ports)
        self._until(deadline, lambda: self._ready(ports["http"]))
        return f"http://{ports['grpc']}", f"http://{ports['http']}"

    def _until(self, deadline, probe):
        while True:
            found = probe()
            if found:
                return found
            if self.process.poll() is not None:
                raise DemoError(f"rollcalld ended at once; it said:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise DemoError(f"rollcalld was not ready within {START_LIMIT_S} s; it said:\n"
                                f"{self.last_words()}")
            time.sleep(POLL_S)

    def _ports(self):
        try:
            return json.loads(self.port_file.read_text())
        except (OSError, ValueError):
            return None

    @staticmethod
    def _ready(http):
        try:
            with urllib.request.urlopen(f"http://{http}/readyz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def last_words(self, lines=8):
        """The end of its log, indented."""
        try:
            text = self.log_path.read_text(errors="replace")
        except OSError:
            return "    (nothing)"
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (nothing)"

    def close(self):
        """Stops it and removes its data, faces and all, unless they are to be kept."""
        stop(self.process)
        self.port_file.unlink(missing_ok=True)
        if not self.keep:
            shutil.rmtree(self.data, ignore_errors=True)


class Client:
    """The command line `rollcall`."""

    def __init__(self, bin_dir, endpoint):
        self.program = bin_dir / "rollcall"
        self.endpoint = endpoint
        self.children = []

    def start(self, *args, **options):
        """Starts a command without waiting for it."""
        process = subprocess.Popen(
            [str(self.program), "--endpoint", self.endpoint, *map(str, args)], text=True,
            env=environment(), stdin=subprocess.DEVNULL, start_new_session=True, **options)
        self.children.append(process)
        return process

    def run(self, *args, fine=(0,)):
        """Runs a command; returns its exit code, its JSON (or None) and its standard error."""
        process = self.start(*args, "--format", "json",
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate()
        self.children.remove(process)
        if process.returncode not in fine:
            raise DemoError(f"`rollcall {' '.join(map(str, args))}` ended with exit code "
                            f"{process.returncode}:\n    {err.strip() or out.strip()}")
        try:
            return process.returncode, json.loads(out) if out.strip() else None, err
        except ValueError:
            raise DemoError(f"`rollcall {args[0]}` printed something else than JSON") from None

    def picture(self, identity_id):
        """The JPEG of an identity's best face, or None."""
        process = self.start("thumbnail", "--identity", identity_id, "-o", "-", "--quiet",
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        # The one output that is no text.
        jpeg = process.stdout.buffer.read()
        code = process.wait()
        process.stdout.close()
        self.children.remove(process)
        return jpeg if code == 0 and jpeg else None

    def close(self):
        """Stops what still runs."""
        for child in self.children:
            stop(child)


class Events:
    """`rollcall watch` in the background, line by line."""

    def __init__(self, client):
        self.lines = queue.Queue()
        self.process = client.start("watch", "--format", "jsonl", "--quiet",
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self._read, daemon=True).start()
        first = self.next(START_LIMIT_S)
        if first is None or first.get("event") != "started":
            raise DemoError("`rollcall watch` did not start")

    def _read(self):
        for line in self.process.stdout:
            try:
                self.lines.put(json.loads(line))
            except ValueError:
                pass
        self.lines.put(None)

    def next(self, limit_s):
        """The next event, or None if none came in time or none will come any more."""
        try:
            return self.lines.get(timeout=limit_s)
        except queue.Empty:
            return None
