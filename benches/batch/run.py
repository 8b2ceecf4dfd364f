#!/usr/bin/env python3
"""The command behind `make bench-batch`: facerec's pipeline in Python beside `extract`, one core.

    run.py --bin FOLDER [--video FILE] [--seconds S] [--out FOLDER] [--systems A,B] [--rounds N]

`rollcall/facerec` is `extract --profile facerec`, `rollcall/every-frame` the same with
`--search-every 1`, `rollcall/yunet` that with `--detector yunet-2023mar` beside, `rollcall/default` is `extract` as it is without a profile. `facerec/prepared` is
facerec.py with the models as set-up prepares them, the very files that ours reads, and
`facerec/shipped` with them as their packages have them (one round). Everybody has one thread and
one and the same core; systems take turns, the fastest round counts, and the least processor time is
kept apart. The first S seconds of the film are read (0: all of it).

Prints one JSON object a system, then one a comparison, and writes them to FOLDER/results.jsonl. A
comparison of `rollcall/facerec` holds the ratios of processor and wall time to a peer's, what both
found (compare.py), and which tolerances are kept; so does that of `rollcall/every-frame`, whose
`cpu_ratio_bound` is what the ratio would be if all but the detector's network cost ours nothing:
both run the same file on every frame. YuNet is
another detector than the peer's, so that no tolerance is asked of its line. One of
`rollcall/default` tells how much of the trajectories of `rollcall/facerec` its tracks find. The
command fails if a system cannot be measured, or a tolerance is not kept.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
BENCHES = Path(__file__).resolve().parents[1]
# What the benchmark of ingest has: how programs are measured, our run, the models as shipped.
sys.path.insert(0, str(BENCHES / "ingest"))

import cv2

import run as ingest
import tracks as track_files

sys.path.insert(0, str(Path(__file__).resolve().parent))

import compare

MOVIE = 1
DETECT_SIZE, THREADS = 640, 1
EVERY_FRAME = ("--search-every", "1")
# The same tracks, boxes and cuts are asked of these; the others have other detectors or schedules.
EQUAL = ("rollcall/facerec", "rollcall/every-frame")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Ours:
    """`rollcall-ingest extract --profile facerec`."""

    def __init__(self, binaries, flags=()):
        self.binary, self.flags = binaries / "rollcall-ingest", flags

    def run(self, video, cores, scratch):
        """One run: numbers, and what is in the folder that it wrote."""
        out, log = fresh(scratch / "ours"), scratch / "output"
        command = [self.binary, "extract", video, "--out", out, "--profile", "facerec",
                   "--movie-id", MOVIE, "--detect-size", DETECT_SIZE, "--threads", THREADS,
                   *self.flags]
        numbers = ingest.measured([str(part) for part in command], cores, log)
        found = compare.read(out)
        said = r" in (\d+) frames, (\d+) of them searched whole"
        told = re.search(said, log.read_text(encoding="utf-8"))
        numbers |= {"frames": int(told[1]), "searched": int(told[2]),
                    "trajectories": len(found["trajectories"]),
                    "features": len(found["features"]), "cuts": len(found["cuts"])}
        return numbers, found


class Default:
    """`rollcall-ingest extract`."""

    def __init__(self, binaries):
        flags = ["--threads", str(THREADS), "--detect-size", str(DETECT_SIZE)]
        self.extract = ingest.Ours(binaries, flags)

    def run(self, video, cores, scratch):
        """One run: numbers, and its tracks. `looks` are the frames that were searched for faces."""
        numbers, lines = self.extract.run(video, cores, scratch)
        numbers["trajectories"] = numbers.pop("tracks")
        numbers["features"] = numbers.pop("embedded")
        return numbers, track_files.read(lines)


class Peer:
    """facerec.py."""

    def __init__(self, models):
        self.models = models

    def run(self, video, cores, scratch):
        """As for ours."""
        out, log = fresh(scratch / "peer"), scratch / "output"
        command = [sys.executable, "-B", Path(__file__).parent / "facerec.py", video, "--out", out,
                   "--movie-id", MOVIE, "--size", DETECT_SIZE, "--threads", THREADS]
        for name, model in zip(("--detector", "--embedder"), self.models):
            command += [name, model]
        numbers = ingest.measured([str(part) for part in command], cores, log)
        numbers |= json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
        return numbers, compare.read(out)


def fresh(folder):
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def systems(binaries, wanted, scratch):
    """Those that are wanted, by name."""
    prepared = [ingest.ASSETS / "models" / f"{model}.onnx" for model in ingest.SHIPPED]
    makers = {"rollcall/facerec": lambda: Ours(binaries),
              "facerec/prepared": lambda: Peer(prepared),
              "rollcall/default": lambda: Default(binaries),
              "rollcall/every-frame": lambda: Ours(binaries, EVERY_FRAME),
              "rollcall/yunet": lambda: Ours(binaries, [*EVERY_FRAME, "--detector", "yunet-2023mar"]),
              "facerec/shipped": lambda: Peer(ingest.shipped_models(scratch))}
    unknown = [name for name in wanted if name not in makers]
    if unknown:
        raise ingest.BenchError(f"{unknown[0]} is none of {', '.join(makers)}")
    return {name: makers[name]() for name in wanted or makers}


def beginning(video, seconds, scratch):
    """The first seconds of a film, not encoded anew; all of it for 0."""
    if not video.is_file():
        raise ingest.BenchError(f"{video}: there is no such film")
    if seconds <= 0:
        return video
    part = scratch / f"{video.stem}-{seconds:g}s{video.suffix}"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", video, "-t", str(seconds),
               "-map", "0:v:0", "-c", "copy", part]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise ingest.BenchError(f"ffmpeg: {done.stderr.strip()[-300:]}")
    return part


def measure(known, video, rounds, scratch):
    """All systems in turns: the best numbers, what was found, and what failed."""
    cores = sorted(os.sched_getaffinity(0))[:1]
    numbers, found, failed = {}, {}, {}
    for turn in range(rounds):
        for name, system in known.items():
            if name in failed or (turn and name.endswith("/shipped")):
                continue
            try:
                new, seen = system.run(video, cores, scratch)
            except (ingest.BenchError, compare.CompareError, OSError) as why:
                failed[name] = str(why)
                numbers.pop(name, None)
                continue
            best = numbers.get(name)
            least = min(new["cpu_s"], best["cpu_s"]) if best else new["cpu_s"]
            if best is None or new["wall_s"] < best["wall_s"]:
                numbers[name], found[name] = new, seen
            numbers[name]["cpu_s"] = least
    return numbers, found, failed


def length(video):
    """Seconds of a film."""
    reader = cv2.VideoCapture(str(video))
    rate = reader.get(cv2.CAP_PROP_FPS)
    if rate <= 0:
        raise ingest.BenchError(f"{video}: not a video")
    return reader.get(cv2.CAP_PROP_FRAME_COUNT) / rate


def line(name, numbers, video, seconds):
    """What is printed about one system."""
    numbers = dict(numbers)
    wall, cpu = numbers.pop("wall_s"), numbers.pop("cpu_s")
    numbers.pop("seconds_of_video", None)
    return {"system": name, "video": video.name, "seconds_of_video": round(seconds, 2),
            "frames": numbers.pop("frames"), "trajectories": numbers.pop("trajectories"),
            "features": numbers.pop("features"), "cuts": numbers.pop("cuts", None),
            "wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mb": numbers.pop("peak_mb"),
            "times_realtime": round(seconds / wall, 3),
            "times_realtime_per_core": round(seconds / cpu, 3), **numbers}


def comparisons(numbers, found):
    """A line for each of ours and each peer."""
    peers = [name for name in numbers if name.startswith("facerec/")]
    for name in (*EQUAL, "rollcall/yunet", "rollcall/default"):
        for peer in peers if name in numbers else ():
            ours, theirs = numbers[name], numbers[peer]
            told = {"compared": name, "to": peer}
            told |= {f"{key}_ratio": round(theirs[f"{key}_s"] / ours[f"{key}_s"], 3)
                     for key in ("cpu", "wall")}
            if name != "rollcall/default":
                told |= compare.compare(found[name], found[peer])
            if name in EQUAL:
                if name == "rollcall/every-frame" and peer == "facerec/prepared":
                    network = theirs["stages_s"]["network"]
                    told["cpu_ratio_bound"] = round(theirs["cpu_s"] / network, 3)
                told |= {"tolerances": compare.TOLERANCES, "kept": compare.kept(told)}
            elif name == "rollcall/default" and "rollcall/facerec" in found:
                closely = as_tracks(found["rollcall/facerec"]["trajectories"])
                told |= track_files.recall(closely, found[name])
                told.pop("embedding_cosine")
            yield told


def as_tracks(trajectories):
    """Trajectories in the form in which tracks are judged: boxes in shares of the picture."""
    tracks = []
    for trajectory in trajectories:
        w, h, start = trajectory["w"], trajectory["h"], trajectory["start"]
        boxes = [[start + i, x1 / w, y1 / h, (x2 - x1) / w, (y2 - y1) / h]
                 for i, (x1, y1, x2, y2) in enumerate(trajectory["bbs"])]
        tracks.append({"start": start, "end": start + len(boxes) - 1, "boxes": boxes})
    return tracks


def bench(arguments, scratch):
    """A line a system, a comparison, or a failure."""
    video = beginning(arguments.video, arguments.seconds, scratch)
    wanted = arguments.systems.split(",") if arguments.systems else []
    known = systems(arguments.bin, wanted, scratch)
    numbers, found, failed = measure(known, video, arguments.rounds, scratch)
    seconds = length(video)
    for name, each in numbers.items():
        yield line(name, each, video, seconds)
    yield from comparisons(numbers, found)
    for name, why in failed.items():
        yield {"system": name, "video": video.name, "error": why}


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--bin", type=Path, required=True, help="folder with the built programs")
    parser.add_argument("--video", type=Path, default=ingest.ASSETS / "demo/clip.mp4")
    parser.add_argument("--seconds", type=float, default=30, help="of the film; 0 for all of it")
    parser.add_argument("--out", type=Path, default=ingest.ASSETS / "bench/results/batch")
    parser.add_argument("--systems", help="names with commas between, such as rollcall/facerec")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.environ.update({name: str(THREADS) for name in ONE_THREAD})
    failed = False
    try:
        with tempfile.TemporaryDirectory() as scratch, \
                (arguments.out / "results.jsonl").open("w", encoding="utf-8") as file:
            for told in bench(arguments, Path(scratch)):
                failed = failed or "error" in told or not all(told.get("kept", {}).values())
                text = json.dumps(told)
                print(text, flush=True)
                file.write(text + "\n")
    except ingest.BenchError as why:
        sys.exit(f"bench-batch: error: {why}")
    if failed:
        sys.exit("bench-batch: error: a system could not be measured, or a tolerance is not kept")


if __name__ == "__main__":
    main()
