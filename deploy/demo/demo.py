#!/usr/bin/env python3
"""Starts a Rollcall server, gives it a clip, and asks it who is in it.

With the composed clip (the default) every answer is held against the truth; with --video it is
your own file or URL, and the page shows what was found. Exit codes: 0 all as it should be, 1 an
answer missed the truth, 2 the demo could not run, 130 interrupted.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import check
import page
from check import clock
from running import Client, DemoError, Events, Server

PEOPLE_SHOWN_MAX = 200
# How long the last events may take after the source has ended.
EVENTS_LIMIT_S = 20
# Tracks of one identity that are this close are one stretch on the time line.
BRIDGE_S = 0.1


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(arguments())
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ndemo: interrupted, everything stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def arguments():
    root = Path(__file__).resolve().parents[2]
    assets = Path(os.environ.get("ROLLCALL_ASSETS") or root / ".assets")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=Path, default=root / "target/release", metavar="DIR",
                        help="where rollcalld, rollcall-ingest and rollcall are")
    parser.add_argument("--assets", type=Path, default=assets, metavar="DIR",
                        help="what `make setup` made")
    parser.add_argument("--video", metavar="PATH_OR_URL", help="your own file or stream")
    parser.add_argument("--small", action="store_true", help="the short clip of the tests")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where the page goes (default: demo/run in the assets)")
    parser.add_argument("--keep", action="store_true", help="keep the server's data")
    args = parser.parse_args()
    args.assets = args.assets.resolve()
    args.bin_dir = args.bin_dir.resolve()
    args.out = (args.out or args.assets / "demo/run").resolve()
    return args


def run(args):
    truth, video = load(args)
    args.out.mkdir(parents=True, exist_ok=True)
    server = Server(args.bin_dir, args.assets, args.out, args.keep)
    client = None
    try:
        say("Starting the server")
        start = time.monotonic()
        endpoint, http = server.start()
        say(f"  ready after {time.monotonic() - start:.1f} s at {endpoint}, metrics at "
            f"{http}/metrics")
        client = Client(args.bin_dir, endpoint)
        return tell(client, args, truth, video)
    finally:
        # A second Ctrl-C must not leave the server behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if client:
            client.close()
        server.close()
        if args.keep:
            say(f"The data is kept: rollcalld serve --data {server.data} --assets {args.assets}")


def load(args):
    """The truth (None for a video of one's own) and what to ingest."""
    for program in ("rollcalld", "rollcall", "rollcall-ingest"):
        if not (args.bin_dir / program).exists():
            raise DemoError(f"{args.bin_dir / program} is missing: run `make build` first, or "
                            "name the folder with --bin-dir")
    if args.video is not None:
        is_url = "://" in args.video
        if not is_url and not Path(args.video).is_file():
            raise DemoError(f"there is no file {args.video}: give a path or a URL")
        return None, args.video if is_url else str(Path(args.video).resolve())
    suffix = "-small" if args.small else ""
    clip = args.assets / f"demo/clip{suffix}.mp4"
    try:
        truth = json.loads((args.assets / f"demo/truth{suffix}.json").read_text())
    except (OSError, ValueError) as error:
        raise DemoError(f"the demo clip is not there ({error}): run `make setup`") from None
    return truth, str(clip)


def tell(client, args, truth, video):
    live = ", Ctrl-C ends a stream" if "://" in video else ""
    say(f"Reading {Path(video).name}: people as they are found{live}")
    source, source_name, seconds, counts = ingest(client, video)
    duration = length_of(source)
    pace = f"{duration / seconds:.1f}× real time" if duration and seconds else "live"
    say(f"  {duration:.1f} s of video read in {seconds:.1f} s, {pace}")
    error = source.get("error")
    if error:
        say(f"  but: {error['message']} [{error['reason']}]")
    found, sightings = seen(client, source["id"])
    report = check.compare(truth, found) if truth else None
    if report:
        name_them(client, report)
    queries = ask(client, args.assets / "demo", truth, report) if truth else []
    misses = None
    if report:
        misses = report.misses + [q["miss"] for q in queries if not q["right"]]
        if error:
            misses.append(f"reading broke off: {error['message']} [{error['reason']}]")
    people, left_out = describe(client, report, found, sightings)
    collected = {
        "clip": source_name, "media": media_text(source), "duration_s": duration,
        "misses": misses, "people": people, "left_out": left_out, "queries": queries,
        "cuts": truth["cuts"] if truth else [],
        "columns": ["from", "to", "length"] + (["begins off by", "ends off by"] if truth else []),
        "numbers": numbers(report, found, sightings, queries, pace),
        "about": about(client, source, seconds, counts),
    }
    target = args.out / "index.html"
    partial = target.with_suffix(".partial")
    partial.write_text(page.render(collected), encoding="utf-8")
    partial.replace(target)
    return conclude(report, misses, people, target)


def ingest(client, video):
    """Adds the source, prints what the watcher tells; returns the source when it is over."""
    events = Events(client)
    start = time.monotonic()
    # Progress lines pass through to standard error.
    adding = client.start("source", "add", video, "--wait", "--no-progress", "--format", "json",
                          stdout=subprocess.PIPE)
    teller = Teller()
    try:
        while adding.poll() is None:
            teller.take(events.next(0.2))
        output = adding.stdout.read()
    except KeyboardInterrupt:
        # A live stream has no end but this one; the page shows what was seen of it.
        if "://" not in video or not teller.sources:
            raise
        say("Stopping the stream (once more ends the demo)")
        output = json.dumps(client.run("source", "stop", min(teller.sources))[1])
    seconds = time.monotonic() - start
    try:
        source = json.loads(output)
    except ValueError:
        raise DemoError("the video was not taken, as said above") from None
    if source["state"] not in ("ended", "stopped"):
        raise DemoError("the video could not be read, as said above")
    deadline = time.monotonic() + EVENTS_LIMIT_S
    while source["id"] not in teller.ended and time.monotonic() < deadline:
        teller.take(events.next(0.2))
    return source, source["name"] or Path(video).name, seconds, teller.counts


class Teller:
    """Says in a line what an event means to a person who looks on."""

    def __init__(self):
        self.known, self.sources, self.ended, self.counts = set(), set(), set(), {}

    def take(self, event):
        if event is None:
            return
        kind = event["event"]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "sighting_started":
            sighting = event["sighting"]
            who, at = sighting["identity_id"], clock(sighting["start_s"] or 0)
            news = "seen again" if who in self.known else "new person"
            say(f"  {at}  {news}: identity {who} on {sighting['source_name']}")
            self.known.add(who)
        elif kind == "track_reassigned":
            at = clock(event["sighting"]["start_s"] or 0)
            say(f"  {at}  on a second look identity {event['from_identity_id']} there is "
                f"{event['to_identity_id']}")
            self.known.add(event["to_identity_id"])
        elif kind == "gap":
            say("  events were lost here")
        elif kind == "source_changed":
            self.sources.add(event["source_id"])
            if event["state"] in ("ended", "stopped", "failed"):
                self.ended.add(event["source_id"])


def seen(client, source_id):
    """Identity id -> merged intervals, and the number of sightings."""
    _, answer, _ = client.run("sightings", "--source", source_id, "--limit", 0, fine=(0, 1))
    sightings = (answer or {}).get("sightings", [])
    found = {}
    for sighting in sightings:
        frames = sighting["end_frame"] - sighting["start_frame"]
        span = sighting["end_s"] - sighting["start_s"]
        # The last frame is on screen until the next would come.
        frame = span / frames if frames > 0 else 0.04
        interval = (sighting["start_s"], sighting["end_s"] + frame)
        found.setdefault(sighting["identity_id"], []).append(interval)
    return {i: check.union(spans, BRIDGE_S) for i, spans in found.items()}, len(sightings)


def name_them(client, report):
    for identity, name in sorted(report.names.items()):
        options = ("--allow-duplicate-name", "--author", "demo")
        client.run("identity", "rename", identity, name, *options)


def ask(client, folder, truth, report):
    """Searches with the pictures that are not in the clip."""
    say("Asking with pictures that are not in the clip")
    queries = []
    for held_out in truth["held_out"]:
        queries.append(search(client, folder / held_out["image"], held_out["person"], report))
    if truth.get("stranger"):
        queries.append(search(client, folder / truth["stranger"], None, report))
    for query in queries:
        mark = "ok  " if query["right"] else "MISS"
        say(f"  {mark} {query['title']}: {query['answer']}, {query['note']}")
        for start, end in query["intervals"]:
            say(f"         {clock(start)} to {clock(end)}")
    return queries


def search(client, picture, person, report):
    """One query; `person` None is the stranger, of whom nothing must be found."""
    code, answer, _ = client.run("search", picture, fine=(0, 1))
    timings = answer["timings"]
    took = f"{1000 * timings['round_trip_s']:.0f} ms"
    query = {"title": person or "a stranger", "image": picture.read_bytes(), "intervals": []}
    if code == 1:
        query |= {"answer": "nobody", "note": took, "right": person is None,
                  "miss": f"asked for {person}: nothing was found"}
    else:
        hit = answer["hits"][0]
        name = report.names.get(hit["identity"]["id"])
        spans = check.union([(s["start_s"], s["end_s"]) for s in hit["sightings"]], BRIDGE_S)
        asked = f"asked for {person}" if person else "asked for a stranger"
        query |= {"answer": name or f"identity {hit['identity']['id']}", "intervals": spans,
                  "note": f"cosine {hit['cosine']:.2f}, {took}",
                  "right": person is not None and name == person,
                  "miss": f"{asked}: {name or 'somebody'} was found"}
    query["ms"] = 1000 * timings["round_trip_s"]
    return query


def describe(client, report, found, sightings):
    """What the page says of each person, longest on screen first (or in the truth's order)."""
    if report:
        people = [(p.name, p.identities, p.intervals) for p in report.people]
        people += [(f"identity {i}", [i], []) for i in sorted(found.keys() - report.names.keys())]
    else:
        longest = sorted(found, key=lambda i: -check.length(found[i]))
        people = [(f"Person {i}", [i], []) for i in longest]
    described = []
    for name, identities, intervals in people[:PEOPLE_SHOWN_MAX]:
        spans = check.union([s for i in identities for s in found[i]], BRIDGE_S)
        described.append({
            "name": name, "found": spans, "truth": [(i.start, i.end) for i in intervals],
            "jpeg": client.picture(identities[0]) if identities else None,
            "note": note(identities, spans), "rows": rows(spans, intervals),
        })
    return described, max(0, len(people) - PEOPLE_SHOWN_MAX)


def note(identities, spans):
    if not identities:
        return "not found"
    ids = ("identity " if len(identities) == 1 else "identities ") + ", ".join(map(str, identities))
    times = "once" if len(spans) == 1 else f"{len(spans)} times"
    return f"{ids}; on screen {times}, {check.length(spans):.1f} s in all"


def rows(spans, intervals):
    if not intervals:
        return [[clock(s), clock(e), f"{e - s:.2f} s"] for s, e in spans]
    table = []
    for i in intervals:
        errors = ["not seen", ""] if i.start_error is None else [
            f"{i.start_error:+.2f} s", f"{i.end_error:+.2f} s"]
        table.append([clock(i.start), clock(i.end), f"{i.end - i.start:.2f} s", *errors])
    return table


def numbers(report, found, sightings, queries, pace):
    cells = [("people found", str(len(found))), ("sightings", str(sightings)), ("pace", pace)]
    if report:
        cells[0] = ("people found", f"{sum(bool(p.identities) for p in report.people)} "
                                    f"of {len(report.people)}")
        extra = sum(max(0, len(p.identities) - 1) for p in report.people)
        cells.append(("identities too many", str(extra)))
        if report.worst_error is not None:
            cells.append(("worst time error", f"{report.worst_error:.2f} s"))
    if queries:
        right = sum(q["right"] for q in queries)
        cells.append(("queries right", f"{right} of {len(queries)}"))
        cells.append(("a query takes", f"{sorted(q['ms'] for q in queries)[len(queries) // 2]:.0f} ms"))
    return cells


def about(client, source, seconds, counts):
    _, status, _ = client.run("status")
    counters = source.get("counters") or {}
    stages = ", ".join(f"{k} {v:.1f} s" for k, v in (counters.get("stage_s") or {}).items())
    return [
        ("server", f"rollcalld {status['version']}"),
        ("detector", status["detector"]), ("embedder", status["embedder"]),
        ("same person from", f"cosine {status['same_cosine']:.2f}"),
        ("frames", f"{counters.get('frames_decoded', 0)} read, "
                   f"{counters.get('frames_detected', 0)} searched for faces"),
        ("faces", f"{counters.get('faces_detected', 0)} detected, "
                  f"{counters.get('faces_embedded', 0)} embedded"),
        ("shots, tracks", f"{counters.get('shots', 0)}, {counters.get('tracks', 0)}"),
        ("reading took", f"{seconds:.1f} s" + (f" ({stages})" if stages else "")),
        ("events seen live", str(sum(n for k, n in counts.items() if k != "started"))),
    ]


def length_of(source):
    media = source.get("media") or {}
    return media.get("duration_s") or source.get("position_s") or 0.0


def media_text(source):
    media = source.get("media")
    if not media:
        return source["uri"]
    return (f"{length_of(source):.1f} s, {media['width']}x{media['height']}, "
            f"{media['frames_per_second']:.4g} frames a second, {media['codec']}")


def conclude(report, misses, people, target):
    if report is None:
        say(f"Found {len(people)} {'person' if len(people) == 1 else 'people'}")
        for person in people[:10]:
            say(f"  {person['name']}: {person['note']}")
    elif not misses:
        worst = report.worst_error or 0.0
        say(f"All {len(report.people)} people found, nobody mixed up, times within {worst:.2f} s")
    else:
        say("Not as it should be:")
        for miss in misses:
            say(f"  {miss}")
    say(f"The page: {target}")
    return 1 if misses else 0


def say(line):
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
