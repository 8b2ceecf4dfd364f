"""A live stream for a long time: does the server, or the worker, grow?

A stream is watched by a real rollcalld and its worker, and broken once a minute: cut, frozen, its
sender started again, damaged, in turn. Each minute a line says how much memory and how many open
files the two processes have. The verdict at the end compares the last quarter of the run with the
second one (the first warms up); the exit code is 1 if something grew or the source did not recover.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "demo"))

from running import Client, DemoError, Server  # noqa: E402
from sender import Proxy, Sender  # noqa: E402

# Longer than the server's ingest.read_timeout_s.
FREEZE_S = 20
# What may be added from the second quarter to the last: the gallery itself grows by what is seen.
GROWTH_MIB = 24
GROWTH_FILES = 4


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--assets", type=Path, default=ROOT / ".assets")
    parser.add_argument("--clip", type=Path, help="what is sent; else the small demo clip")
    return parser.parse_args()


def facts(pid):
    """Resident memory in MiB and open files of a process; None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return None
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1024, files


def worker_of(server_pid):
    """The server's one child."""
    children = [c for task in Path(f"/proc/{server_pid}/task").iterdir()
                for c in (task / "children").read_text().split()]
    return int(children[0]) if children else None


def trouble(minute, proxy, sender):
    """This minute's; returns its name."""
    kinds = [("cut", proxy.cut), ("frozen", lambda: proxy.freeze(FREEZE_S)),
             ("sender restarted", sender.restart), ("damaged", lambda: proxy.damage(2))]
    name, do = kinds[minute % len(kinds)]
    do()
    if name != "frozen" and name != "cut":
        # A new clock, or damage, is no reason to open the stream again; this is.
        proxy.cut()
    return name


def minute_line(server, client, source, minute, name):
    """Looks at both processes and the source; prints and returns what it saw."""
    pids = server.process.pid, worker_of(server.process.pid)
    seen = [facts(pid) if pid else None for pid in pids]
    _, shown, _ = client.run("source", "show", source)
    counters = shown["counters"] or {}
    line = {
        "minute": minute, "state": shown["state"], "worker": pids[1],
        "server": seen[0], "worker_facts": seen[1],
        "reconnects": counters.get("reconnects", 0), "tracks": counters.get("tracks", 0),
        "decoded": counters.get("frames_decoded", 0), "dropped": counters.get("frames_dropped", 0),
        "lag": shown.get("lag_s"), "restarts": shown["worker_restarts"],
    }
    text = [f"{who} {f[0]:.1f} MiB {f[1]} files" if f else f"{who} gone"
            for who, f in zip(("rollcalld", "worker"), seen)]
    print(f"minute {minute:3}: {', '.join(text)}; {line['state']}, {line['reconnects']} reconnects,"
          f" {line['restarts']} worker restarts, {line['tracks']} tracks, {line['decoded']} frames"
          f" ({line['dropped']} dropped), lag {line['lag']} s; after: {name}", flush=True)
    return line


def verdict(lines):
    """What is wrong, in words; nothing if all is well."""
    wrong = []
    quarter = max(1, len(lines) // 4)
    before, after = lines[quarter:2 * quarter] or lines[:1], lines[-quarter:]
    for who in ("server", "worker_facts"):
        name = "rollcalld" if who == "server" else "worker"
        if any(line[who] is None for line in before + after):
            wrong.append(f"{name} was gone")
            continue
        values = [[statistics.median(line[who][i] for line in part) for part in (before, after)]
                  for i in (0, 1)]
        print(f"{name}: {values[0][0]:.1f} -> {values[0][1]:.1f} MiB, "
              f"{values[1][0]:.0f} -> {values[1][1]:.0f} open files")
        if values[0][1] - values[0][0] > GROWTH_MIB:
            wrong.append(f"{name}'s memory grew")
        if values[1][1] - values[1][0] > GROWTH_FILES:
            wrong.append(f"{name}'s open files grew")
    first, last = lines[0], lines[-1]
    if last["restarts"] or len({line["worker"] for line in lines}) > 1:
        wrong.append("the worker did not live through it")
    if last["reconnects"] < len(lines) - 2:
        wrong.append(f"{last['reconnects']} reconnects only")
    stuck = [b["minute"] for a, b in zip(lines, lines[1:]) if b["decoded"] <= a["decoded"]]
    if stuck or last["tracks"] <= first["tracks"]:
        wrong.append(f"nothing came in minutes {stuck}")
    return wrong


def main():
    options = arguments()
    clip = options.clip or options.assets / "demo" / "clip-small.mp4"
    lines, sender, client = [], None, None
    with tempfile.TemporaryDirectory(prefix="rollcall-soak-") as folder:
        proxy = Proxy()
        server = Server(options.bin_dir, options.assets, Path(folder), keep=False)
        try:
            inlet, outlet = proxy.addresses()
            sender = Sender(clip, Path(folder), inlet)
            grpc, _ = server.start()
            client = Client(options.bin_dir, grpc)
            _, added, _ = client.run("source", "add", outlet)
            for minute in range(1, options.minutes + 1):
                time.sleep(45)
                name = trouble(minute, proxy, sender)
                time.sleep(15)
                lines.append(minute_line(server, client, added["id"], minute, name))
            wrong = verdict(lines)
        finally:
            for part in (client, server, sender, proxy):
                if part:
                    part.close()
    print(f"verdict after {len(lines)} minutes: {'; '.join(wrong) or 'flat'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoError as why:
        sys.exit(str(why))
