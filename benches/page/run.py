"""From a photo dropped on the page to its answer on the screen, in Chromium: one JSON line.

A server reads the demo clip. Then photos are dropped, one after the other: portraits of the people in it and of a
stranger, of many sizes, and frames of the clip. Every portrait must be answered rightly.
"""

import argparse
import json
import math
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "demo"))

from running import Client, DemoError, Server  # noqa: E402

SEED = 20261130
# Sides of portraits, pixels.
WIDTHS = (320, 1600)
# Photos that are not counted: the first ones find nothing warm.
WARM = 3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--assets", type=Path, default=ROOT / ".assets")
    parser.add_argument("--photos", type=int, default=50)
    return parser.parse_args()


def ffmpeg(*args):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, args)], check=True)


def make_photos(demo, folder, count):
    """Photos in random order: (path, whom the portrait shows, "" for the stranger, None for a frame)."""
    rng = random.Random(SEED)
    truth = json.loads((demo / "truth.json").read_text())
    portraits = [(entry["image"], entry["person"]) for entry in truth["held_out"]]
    portraits.append((truth["stranger"], ""))
    spans = [span for person in truth["people"] for span in person["intervals"]]
    photos = []
    for number in range(count):
        path = folder / f"{number:03}.jpg"
        if number % 2:
            begin, end = rng.choice(spans)
            moment = rng.uniform(begin, end - 0.1)
            ffmpeg("-ss", f"{moment:.2f}", "-i", demo / "clip.mp4", "-frames:v", 1, "-q:v", 2, path)
            photos.append((path, None))
        else:
            image, person = portraits[number // 2 % len(portraits)]
            ffmpeg("-i", demo / image, "-vf", f"scale={rng.randint(*WIDTHS)}:-2", "-q:v", 2, path)
            photos.append((path, person))
    return photos


def drop(assets, url, photos):
    """The answer to each photo."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    if browser is None:
        raise DemoError("chromium is not on the path: make setup")
    command = ["node", Path(__file__).with_name("drop.cjs"),
               (assets / "node_modules" / "playwright-core").resolve(), browser, url]
    done = subprocess.run([str(part) for part in [*command, *photos]], check=False,
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise DemoError("the browser did not come to an end, see above")
    return [json.loads(line) for line in done.stdout.splitlines()]


def wrong_answers(photos, answers):
    """Portraits that were not answered rightly: each person by one name of their own, the stranger by none."""
    called, wrong = {}, []
    for (path, person), answer in zip(photos, answers):
        if person is None:
            continue
        found = re.search(r"This is (.+)", answer["said"])
        name = found[1] if found else ""
        expected = called.setdefault(person, name) if person else ""
        if name != expected or bool(name) != bool(person):
            wrong.append(f"{path.name}: {answer['said'].splitlines()[-1:]} for {person or 'a stranger'}")
    if len(set(called.values())) < len(called):
        wrong.append(f"two people are called the same: {called}")
    return wrong


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, math.ceil(part * len(values)) - 1)]


def main():
    options = arguments()
    demo = options.assets / "demo"
    with tempfile.TemporaryDirectory(prefix="rollcall-page-") as folder:
        photos = make_photos(demo, Path(folder), options.photos)
        server, client = Server(options.bin_dir, options.assets, Path(folder), keep=False), None
        try:
            grpc, http = server.start()
            client = Client(options.bin_dir, grpc)
            client.run("source", "add", demo / "clip.mp4", "--wait")
            paths = [path for path, _ in photos]
            answers = drop(options.assets, http, paths[:WARM] + paths)[WARM:]
        finally:
            for part in (client, server):
                if part:
                    part.close()
    wrong = wrong_answers(photos, answers)
    times = [answer["ms"] for answer in answers]
    looked = [int(found[1]) for answer in answers
              if (found := re.search(r"looked up in (\d+) ms", answer["said"]))]
    print(json.dumps({
        "bench": "page", "photos": len(photos), "answered": len(looked), "wrong": len(wrong),
        "p50_ms": round(percentile(times, 0.5), 1), "p99_ms": round(percentile(times, 0.99), 1),
        "server_p50_ms": percentile(looked, 0.5), "server_p99_ms": percentile(looked, 0.99),
    }))
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoError as why:
        sys.exit(str(why))
