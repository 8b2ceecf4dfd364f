"""The command behind `make bench-quality`: shots, beside PySceneDetect on the same films.

    shots.py --binary PROGRAM [--out FOLDER] [--films FOLDER] [--peers all|none]

Prints a table, and writes one JSON object a system, setting, half and task (`cuts`, `gradual`) into
FOLDER/results.jsonl: `system`, `setting`, `corpus`, `task`, `precision`, `recall`, `f1`, `found`,
`false`, `truth`; and for defaults, over the first film, with decoding and scaling, `fps`, frames a
second of processor time on all cores together, and `fps_wall`, by the clock, which other work on
the machine disturbs.

A cut is found by a boundary within one frame of it, a gradual transition by one within its mixed
frames or one frame beside; more than one boundary within the same transition count once. A system
that says which kind a boundary is (ours) is held to it: a cut within a dissolve is a false cut and
does not find the dissolve. Boundaries of a system that does not (all of PySceneDetect's) count for
whichever transition they meet; those that meet none are false in both tasks.

PySceneDetect's detectors run at their defaults and at a few other settings. The table shows the
defaults, and of the others the one that is best on the held-out half, for each task anew: the peers
are tuned on what they are judged by, ours is not.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import compose_shots
try:
    import scenedetect
except ImportError:
    scenedetect = None

TOLERANCE = 1
# Settings of each detector; the first is its default.
SWEEP = {
    "ContentDetector": [{}, {"threshold": 20}, {"threshold": 35}, {"min_scene_len": 1}],
    "AdaptiveDetector": [{}, {"adaptive_threshold": 2}, {"adaptive_threshold": 5},
                         {"min_scene_len": 1}],
    "HistogramDetector": [{}, {"threshold": 0.1}, {"threshold": 0.4}],
    "HashDetector": [{}, {"threshold": 0.25}, {"threshold": 0.45}],
    "ThresholdDetector": [{}, {"threshold": 30}, {"threshold": 60}],
}


class Score:
    """Counts of one task over the films of a half."""

    def __init__(self):
        self.found = self.truth = self.false = 0

    def add(self, found, truth, false):
        self.found += found
        self.truth += truth
        self.false += false

    def measures(self):
        precision = self.found / max(self.found + self.false, 1)
        recall = self.found / max(self.truth, 1)
        return {"precision": round(precision, 4), "recall": round(recall, 4),
                "f1": round(2 * precision * recall / max(precision + recall, 1e-9), 4),
                "found": self.found, "false": self.false, "truth": self.truth}


def judge(truth, cuts, gradual, scores, shown=None):
    """Adds one film. `gradual` is None where the system does not tell kinds apart."""
    spans = [(first - TOLERANCE, end + TOLERANCE) for first, end, _ in truth["gradual"]]
    within = lambda at, span: span[0] <= at < span[1]
    met = {"cuts": set(), "gradual": set()}
    false = {"cuts": [], "gradual": []}
    for at in cuts:
        near = min(truth["cuts"], key=lambda cut: abs(cut - at), default=None)
        if near is not None and abs(near - at) <= TOLERANCE and near not in met["cuts"]:
            met["cuts"].add(near)
        elif gradual is not None:
            false["cuts"].append(at)
        elif hits := [span for span in spans if within(at, span)]:
            met["gradual"].add(hits[0])
        else:
            false["cuts"].append(at)
            false["gradual"].append(at)
    for at in gradual or []:
        hits = [span for span in spans if within(at, span)]
        if hits:
            met["gradual"].add(hits[0])
        else:
            false["gradual"].append(at)
    for task, all_of in (("cuts", truth["cuts"]), ("gradual", spans)):
        scores[task].add(len(met[task]), len(all_of), len(false[task]))
        if shown is not None:
            missed = [at for at in all_of if at not in met[task]]
            shown.append((task, missed, false[task]))


def run_ours(binary, rule, film):
    """Our own program: frames, seconds of processor and of wall time, cuts, middles of gradual
    transitions."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [binary, "--shots", rule, film]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    result = json.loads(done.stdout)
    gradual = [t[1] for t in result["gradual"]] if rule == "rollcall" else None
    return result["frames"], (cpu, result["seconds"]), result["cuts"], gradual


def run_peer(detectors, film):
    """The same of PySceneDetect's detectors, by its own loop and at its own frame size: frames,
    times, and the boundaries of each detector."""
    begun = time.process_time(), time.perf_counter()
    video = scenedetect.open_video(str(film))
    manager = scenedetect.SceneManager()
    boundaries = []
    for detector in detectors:
        boundaries.append(found := [])
        for name in ("process_frame", "post_process"):
            setattr(detector, name, recorded(getattr(detector, name), found))
        manager.add_detector(detector)
    frames = manager.detect_scenes(video)
    return frames, (time.process_time() - begun[0], time.perf_counter() - begun[1]), boundaries


def recorded(method, found):
    """The method, which returns boundaries, with its results also kept as frame numbers."""
    def call(*arguments):
        result = method(*arguments)
        found.extend(at.frame_num for at in result)
        return result
    return call


def measure(binary, peers, films, half, verbose):
    """The lines of all systems over the films of one half."""
    systems = [("rollcall", "default", {}), ("rollcall --shots facerec", "default", {})]
    if peers:
        systems += [(f"scenedetect {name}", words(setting), setting)
                    for name, settings in SWEEP.items() for setting in settings]
    scores = [{"cuts": Score(), "gradual": Score()} for _ in systems]
    speeds = []
    for number, film in enumerate(sorted(films.glob(f"{half}-*.mp4"))):
        print(film.name, file=sys.stderr)
        truth = json.loads(film.with_suffix(".json").read_text())
        make = lambda name, setting: getattr(scenedetect, name.split()[1])(**setting)
        ours = [run_ours(binary, rule, film) for rule in ("rollcall", "facerec")]
        found = [(cuts, gradual) for _, _, cuts, gradual in ours]
        if peers:
            # All at once, since most of the time goes into decoding...
            detectors = [make(name, setting) for name, _, setting in systems[2:]]
            found += [(cuts, None) for cuts in run_peer(detectors, film)[2]]
        if number == 0:
            # ... but each default once alone, for its speed.
            alone = [result[:2] for result in ours]
            alone += [None if setting else run_peer([make(name, setting)], film)[:2]
                      for name, _, setting in systems[2:]]
            speeds = [run and [round(run[0] / took) for took in run[1]] for run in alone]
        for (name, setting, _), score, result in zip(systems, scores, found):
            shown = [] if verbose and name == "rollcall" else None
            judge(truth, *result, score, shown)
            for task, missed, false in shown or []:
                print(f"{name} {task}: missed {missed}, false {false}", file=sys.stderr)
    return [{"system": name, "setting": setting, "corpus": half, "task": task,
             **score[task].measures(), "fps": fps and fps[0], "fps_wall": fps and fps[1]}
            for (name, setting, _), score, fps in zip(systems, scores, speeds) for task in score]


def words(setting):
    return ", ".join(f"{key}={value}" for key, value in setting.items()) or "default"


def table(lines):
    """Defaults, and the best setting of each system and task."""
    heads = "".join(f"{head:>7}" for head in ("prec.", "recall", "F1", "fps", "wall"))
    print(f"{'task':8} {'half':5} {'system':29} {'setting':20}{heads}")
    for task in ("cuts", "gradual"):
        for half in compose_shots.HALVES:
            for name in dict.fromkeys(line["system"] for line in lines):
                own = [l for l in lines if l["system"] == name and l["task"] == task]
                here = {l["setting"]: l for l in own if l["corpus"] == half}
                held = [l for l in own if l["corpus"] == "held"]
                best = max(held, key=lambda l: l["f1"])["setting"]
                for setting in dict.fromkeys(["default", best]):
                    l = here[setting]
                    quality = "".join(f"{l[key]:7.3f}" for key in ("precision", "recall", "f1"))
                    speed = "".join(f"{l[key] or '':>7}" for key in ("fps", "fps_wall"))
                    print(f"{task:8} {half:5} {name:29} {setting:20}{quality}{speed}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[2]
    assets = Path(os.environ.get("ROLLCALL_ASSETS") or root / ".assets")
    parser.add_argument("--binary", required=True, type=Path, help="our program `shots`")
    parser.add_argument("--films", type=Path, default=assets / "bench" / "shots")
    parser.add_argument("--out", type=Path, help="folder for results.jsonl")
    parser.add_argument("--peers", choices=["all", "none"], default="all")
    parser.add_argument("--verbose", action="store_true", help="tell what ours missed and invented")
    arguments = parser.parse_args()
    peers = arguments.peers == "all"
    compose_shots.compose(arguments.films, assets / "fixtures", files=5, seconds=80)
    out = arguments.out or arguments.films / "results"
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    with open(out / "results.jsonl", "w", encoding="utf-8") as file:
        for half in compose_shots.HALVES:
            for line in measure(arguments.binary, peers, arguments.films, half, arguments.verbose):
                lines.append(line)
                file.write(json.dumps(line) + "\n")
    table(lines)
    print(f"written to {out / 'results.jsonl'}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except (compose_shots.ComposeError, OSError, subprocess.CalledProcessError) as problem:
        sys.exit(f"bench-quality: error: {problem}")
