#!/usr/bin/env python3
"""The command behind `make check-monitoring`: do the dashboards and the alerts have data?

A `rollcalld` of its own reads a file and a live stream, is searched and watched, while the real
Prometheus scrapes it by the rules in deploy/prometheus. Then every query of every panel must give
data, every alert must be evaluated without an error and over series that are there, `promtool` must
find nothing wrong with rules and metrics, and docs/metrics.md must name exactly what is exported.

The last line is a JSON object: how many panels, queries, alerts and metrics were checked, and what
is wrong, by kind. The exit code is 1 if anything is.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True
DEPLOY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(DEPLOY / "demo"))

from running import Client, DemoError, Server, stop

METRIC = re.compile(r"\b(?:rollcall|process)_[a-z0-9_]+|\bup\b")
PARTS = ("_bucket", "_sum", "_count")
# What Grafana puts in the place of a variable.
VARIABLES = {"$instance": ".*", "$source": ".*", "$__rate_interval": "20s", "$__range": "5m"}
READY_S, SCRAPE_S = 30, 1


def free_port():
    """A port of the loopback interface that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    """Prometheus over one server, with our rules."""

    def __init__(self, target, folder):
        self.address = f"127.0.0.1:{free_port()}"
        settings = {
            "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
            "rule_files": [str(DEPLOY / "prometheus/alerts.yml")],
            "scrape_configs": [{"job_name": "rollcalld",
                                "static_configs": [{"targets": [target]}]}]}
        config = folder / "prometheus.yml"
        # JSON is YAML.
        config.write_text(json.dumps(settings), encoding="utf-8")
        self.log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--web.listen-address={self.address}",
             f"--storage.tsdb.path={folder / 'tsdb'}"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)

    def wait(self):
        """Until it answers."""
        deadline = time.monotonic() + READY_S
        while True:
            try:
                return self.get("status/runtimeinfo")
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise DemoError(f"prometheus did not start; see {self.log.name}") from None
                time.sleep(0.2)

    def get(self, what, **query):
        """An answer of its API."""
        text = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{what}?{text}", timeout=10) as r:
            return json.load(r)["data"]

    def query(self, expression):
        """The samples of an expression, or the error in words."""
        try:
            return self.get("query", query=expression)["result"], None
        except urllib.error.HTTPError as why:
            return [], json.load(why).get("error", str(why))

    def close(self):
        """Stops it."""
        stop(self.process)
        self.log.close()


class Load:
    """What a server does on a usual day, in short."""

    def __init__(self, client, http, assets):
        self.client, self.http, self.assets = client, http, assets
        self.clip = assets / "demo/clip-small.mp4"
        self.sender = None

    def begin(self):
        """A file, a live stream, a watcher."""
        devnull = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.client.start("watch", **devnull)
        port = free_port()
        self.sender = subprocess.Popen(
            ["ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", self.clip,
             "-c", "copy", "-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"],
            stdin=subprocess.DEVNULL, start_new_session=True, **devnull)
        self.client.run("source", "add", self.clip, "--wait")
        self.client.run("source", "add", f"udp://127.0.0.1:{port}")

    def turn(self):
        """Searches, an edit, a question that has no answer, a page."""
        for photo in ("query-obama.jpg", "query-stranger.jpg"):
            self.client.run("search", self.assets / "demo" / photo, fine=(0, 1))
        self.client.run("identity", "rename", 1, f"Somebody {time.monotonic_ns()}")
        self.client.run("identity", "show", 999_999, fine=(1, 2))
        urllib.request.urlopen(f"{self.http}/", timeout=5).close()

    def close(self):
        """Ends the stream."""
        stop(self.sender)


def panels(dashboard):
    """(title, expression) of every query of a dashboard."""
    for panel in dashboard["panels"]:
        yield from panels(panel) if panel.get("panels") else ()
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def filled(expression):
    """With Grafana's variables filled in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def base(name):
    """The metric that a series of a histogram belongs to."""
    for part in PARTS:
        name = name.removesuffix(part)
    return name


def promtool(*arguments, text=None):
    """What it finds wrong."""
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, text=True,
                          capture_output=True, check=False)
    said = (done.stdout + done.stderr).strip()
    return [] if done.returncode == 0 else said.splitlines()


def check(prometheus, http):
    """Counts, and what is wrong, by kind."""
    wrong = {"panels_without_data": [], "rules": [], "metrics": [], "documented": []}
    count = {"dashboards": 0, "panel_queries": 0, "alerts": 0}
    named = set()
    for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json")):
        count["dashboards"] += 1
        for title, expression in panels(json.loads(path.read_text(encoding="utf-8"))):
            count["panel_queries"] += 1
            named |= set(METRIC.findall(expression))
            samples, error = prometheus.query(filled(expression))
            if error or not samples:
                wrong["panels_without_data"].append(f"{path.name}: {title}: {error or expression}")
    for group in prometheus.get("rules")["groups"]:
        for rule in group["rules"]:
            count["alerts"] += 1
            named |= set(METRIC.findall(rule["query"]))
            if rule["health"] != "ok":
                wrong["rules"].append(f"{rule['name']}: {rule.get('lastError', rule['health'])}")
    for name in sorted(named):
        if not prometheus.query(name)[0]:
            wrong["rules"].append(f"{name} has no series")
    with urllib.request.urlopen(f"{http}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    wrong["metrics"] = promtool("check", "metrics", text=text)
    exported = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    manual = (DEPLOY.parent / "docs/metrics.md").read_text(encoding="utf-8")
    told = {base(name) for name in METRIC.findall(manual)} - {"up"}
    wrong["documented"] = sorted(exported ^ told)
    return count | {"metrics": len(exported)}, wrong


def main():
    """The command line."""
    root = DEPLOY.parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    assets = Path(os.environ.get("ROLLCALL_ASSETS") or root / ".assets")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or root / "target")
    parser.add_argument("--assets", type=Path, default=assets)
    parser.add_argument("--bin-dir", type=Path, default=target / "release")
    parser.add_argument("--seconds", type=float, default=30, help="of load")
    arguments = parser.parse_args()
    for program in ("prometheus", "promtool", "ffmpeg"):
        if not shutil.which(program):
            sys.exit(f"check-monitoring: error: there is no {program}; on Debian: "
                     "apt-get install prometheus ffmpeg")
    rules = DEPLOY / "prometheus"
    wrong = {"files": promtool("check", "config", rules / "prometheus.yml")
             + promtool("test", "rules", rules / "alerts_test.yml")}
    with tempfile.TemporaryDirectory() as folder:
        try:
            count, found = run(arguments, Path(folder))
        except DemoError as why:
            sys.exit(f"check-monitoring: error: {why}")
    wrong |= found
    for kind, all_of_it in wrong.items():
        for what in all_of_it:
            print(f"{kind}: {what}", file=sys.stderr)
    print(json.dumps(count | {"wrong": {kind: len(all) for kind, all in wrong.items()}}))
    sys.exit(1 if any(wrong.values()) else 0)


def run(arguments, folder):
    """Server, load and Prometheus, and what `check` finds."""
    server = Server(arguments.bin_dir.resolve(), arguments.assets.resolve(), folder, keep=False)
    prometheus = client = load = None
    try:
        endpoint, http = server.start()
        prometheus = Prometheus(http.removeprefix("http://"), folder)
        prometheus.wait()
        client = Client(arguments.bin_dir.resolve(), endpoint)
        load = Load(client, http, arguments.assets.resolve())
        load.begin()
        deadline = time.monotonic() + arguments.seconds
        while time.monotonic() < deadline:
            load.turn()
        return check(prometheus, http)
    finally:
        for part in (load, client, prometheus, server):
            if part:
                part.close()


if __name__ == "__main__":
    main()
