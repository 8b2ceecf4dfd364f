"""The command behind `make bench-quality TASK=tracking`: tracks, beside ByteTrack and OC-SORT on the
same detections.

    tracks.py --binary PROGRAM [--photos FOLDER] [--out FOLDER] [--films FOLDER] [--peers all|none]
              [--half dev|held] [--kinds pictures,made] [--count N]

Prints a table, and writes one JSON object a system, setting, half and task into FOLDER/tracks.jsonl:
`system`, `setting`, `corpus` (half), `task`, `precision`, `recall`, `f1` (boxes), `idf1`, `hota`,
`mota`, `id_switches`, `fps` (frames with a look a second, tracker alone, by the clock), and of ours
`embedded`, the faces that it wanted embedded.

Tasks are `pictures` (composed films, faces found by the pipeline's own detector) and `made` (see
compose_tracks.py), each `@5` (every fifth frame of 25 a second, as the pipeline looks) and `@1` (every
frame). All systems get the same boxes and scores and begin anew at the same cuts, found by our own
rule in films. Ours also has the faces embedded that it asks for, as in the pipeline, which peers do
not; the line `rollcall, boxes alone` has not. Ours reports a track from its first box on; peers keep
back the boxes until they believe in it. Tracks are told of after they end: that is judged.

Judged by TrackEval's HOTA, CLEAR and Identity at the frames that were looked at, IoU from 0.5. A face
of which less than half is seen, or that is turned away, need not be found, and whoever finds it is
neither praised nor blamed. Peers run at their defaults and at other settings; the table shows the
defaults and the setting with the best IDF1 on what it is judged by; ours is tuned on `dev` alone.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from scipy.optimize import linear_sum_assignment

import compose_tracks

FPS = 25
VISIBLE = 0.5
OURS = {"rollcall": [], "rollcall, boxes alone": ["--without-appearance"],
        "rollcall --tracker facerec": ["--tracker", "facerec"]}
# Settings of each peer; the first is its default.
SWEEP = {
    "ByteTrack": [{}, {"lost_track_buffer": 60}, {"minimum_consecutive_frames": 1},
                  {"track_activation_threshold": 0.5, "high_conf_det_threshold": 0.5},
                  {"track_activation_threshold": 0.5, "minimum_iou_threshold": 0.01,
                   "lost_track_buffer": 60}],
    "OC-SORT": [{}, {"lost_track_buffer": 60}, {"minimum_consecutive_frames": 1},
                {"minimum_iou_threshold": 0.1}, {"high_conf_det_threshold": 0.5},
                {"minimum_iou_threshold": 0.1, "minimum_consecutive_frames": 1,
                 "high_conf_det_threshold": 0.5}],
}


class Film:
    """What is true of a film, and what was found in it."""

    def __init__(self, path):
        found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.path, self.frames, self.cuts = path, found["frames"], found["cuts"]
        self.found, self.truth = defaultdict(list), defaultdict(list)
        for frame, *face in found["faces"]:
            self.found[frame].append(face[:5])
        for row in np.loadtxt(path.with_suffix(".csv"), delimiter=",", ndmin=2):
            self.truth[int(row[0])].append(row[1:])

    def looks(self, every):
        """Frames with a look, as runs between cuts."""
        ends = [0, *self.cuts, self.frames]
        return [list(range(a, b, every)) for a, b in zip(ends, ends[1:])]


def overlaps(a, b):
    """Intersection over union of boxes x, y, width, height; rows of a by rows of b."""
    a, b = np.reshape(a, (-1, 1, 4)).astype(float), np.reshape(b, (1, -1, 4)).astype(float)
    ends = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    both = np.prod(np.clip(ends - np.maximum(a[..., :2], b[..., :2]), 0, None), 2)
    return both / np.maximum(np.prod(a[..., 2:], 2) + np.prod(b[..., 2:], 2) - both, 1e-9)


def judged(film, every, tracks):
    """One film in TrackEval's form. `tracks`: (track, x, y, width, height) of each frame."""
    data = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    people, names = {}, {}
    for frame in (f for run in film.looks(every) for f in run):
        truth, mine = film.truth[frame], tracks.get(frame, [])
        likeness = overlaps([row[1:5] for row in truth], [box[1:] for box in mine])
        seen = np.array([row[5] >= VISIBLE for row in truth], bool)
        rows, columns = linear_sum_assignment(-(likeness * (likeness >= 0.5)))
        excused = {c for r, c in zip(rows, columns) if likeness[r, c] >= 0.5 and not seen[r]}
        kept = [c for c in range(len(mine)) if c not in excused]
        data["gt_ids"].append(np.array([people.setdefault(row[0], len(people))
                                        for row, s in zip(truth, seen) if s], int))
        data["tracker_ids"].append(np.array([names.setdefault(mine[c][0], len(names))
                                             for c in kept], int))
        data["similarity_scores"].append(likeness[seen][:, kept])
    data["num_timesteps"] = len(data["gt_ids"])
    data["num_gt_ids"], data["num_tracker_ids"] = len(people), len(names)
    data["num_gt_dets"] = sum(map(len, data["gt_ids"]))
    data["num_tracker_dets"] = sum(map(len, data["tracker_ids"]))
    return data


def measures(parts):
    """All films of a line together."""
    import trackeval
    quiet = {"PRINT_CONFIG": False}
    metrics = {"hota": trackeval.metrics.HOTA(), "clear": trackeval.metrics.CLEAR(quiet),
               "identity": trackeval.metrics.Identity(quiet)}
    result = {}
    for name, metric in metrics.items():
        each = {str(n): metric.eval_sequence(data) for n, data in enumerate(parts)}
        result[name] = metric.combine_sequences(each)
    clear = result["clear"]
    precision, recall = float(clear["CLR_Pr"]), float(clear["CLR_Re"])
    return {"precision": round(precision, 4), "recall": round(recall, 4),
            "f1": round(2 * precision * recall / max(precision + recall, 1e-9), 4),
            "idf1": round(float(result["identity"]["IDF1"]), 4),
            "hota": round(float(np.mean(result["hota"]["HOTA"])), 4),
            "mota": round(float(clear["MOTA"]), 4), "id_switches": int(clear["IDSW"])}


def run_ours(binary, options, film, every):
    """Tracks by frame, seconds in the tracker, faces embedded."""
    command = [binary, "follow", film.path.with_suffix(""), "--every", str(every), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    tracks = defaultdict(list)
    for line in done.stdout.splitlines():
        frame, track, *box = line.split(",")
        tracks[int(frame)].append((int(track), *map(float, box[:4])))
    cost = json.loads(done.stderr.splitlines()[-1])
    return tracks, cost["seconds"], cost["embedded"]


def run_peer(name, setting, film, every):
    """The same of a peer, which is made anew for each shot."""
    import supervision
    import trackers
    make = {"ByteTrack": trackers.ByteTrackTracker, "OC-SORT": trackers.OCSORTTracker}[name]
    tracks, seconds = defaultdict(list), 0.0
    for shot, run in enumerate(film.looks(every)):
        tracker = make(frame_rate=FPS / every, **setting)
        for frame in run:
            faces = np.array(film.found[frame], float).reshape(-1, 5)
            corners = np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4]], 1)
            boxes = supervision.Detections(corners, confidence=faces[:, 4],
                                           class_id=np.zeros(len(faces), int))
            begun = time.perf_counter()
            followed = tracker.update(boxes)
            seconds += time.perf_counter() - begun
            for (x, y, r, b), track in zip(followed.xyxy, followed.tracker_id):
                if track >= 0:
                    tracks[frame].append(((shot, int(track)), x, y, r - x, b - y))
    return tracks, seconds, None


def measure(binary, peers, films, half, kind, every):
    """The lines of all systems on the films of one half and kind."""
    systems = [(name, {}, lambda film, o=options: run_ours(binary, o, film, every))
               for name, options in OURS.items()]
    for name, settings in SWEEP.items() if peers else ():
        systems += [(name, setting, lambda film, n=name, s=setting: run_peer(n, s, film, every))
                    for setting in settings]
    for name, setting, run in systems:
        parts, seconds, embedded = [], 0.0, 0
        for film in films:
            tracks, spent, asked = run(film)
            parts.append(judged(film, every, tracks))
            seconds, embedded = seconds + spent, embedded + (asked or 0)
        looks = sum(part["num_timesteps"] for part in parts)
        text = ", ".join(f"{k}={v}" for k, v in setting.items()) or "default"
        yield {"system": name, "setting": text, "corpus": half, "task": f"{kind}@{every}",
               **measures(parts), "fps": round(looks / max(seconds, 1e-9)),
               "embedded": embedded if name in OURS else None}


def detect(binary, films):
    """Finds the faces of films that were not searched yet."""
    for path in films:
        if not path.with_suffix(".json").exists():
            print(f"faces of {path.name}", file=sys.stderr)
            subprocess.run([binary, "detect", path, "--out", path.with_suffix("")], check=True)


def table(lines):
    """The table: defaults, and the best of other settings."""
    print(f"{'task':12} {'half':5} {'system':27} {'setting':32} {'IDF1':>6} {'HOTA':>6} {'MOTA':>6}"
          f" {'switches':>8} {'precision':>9} {'recall':>6} {'embedded':>8} {'fps':>7}")
    groups = defaultdict(list)
    for line in lines:
        groups[line["task"], line["corpus"], line["system"]].append(line)
    for own in groups.values():
        best = max(own, key=lambda line: line["idf1"])
        for l in [own[0], *([best] if best is not own[0] else [])]:
            print(f"{l['task']:12} {l['corpus']:5} {l['system']:27} {l['setting'][:32]:32}"
                  f" {l['idf1']:6.3f} {l['hota']:6.3f} {l['mota']:6.3f} {l['id_switches']:8}"
                  f" {l['precision']:9.3f} {l['recall']:6.3f} {l['embedded'] or '':>8} {l['fps']:7}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[2]
    assets = Path(os.environ.get("ROLLCALL_ASSETS") or root / ".assets")
    parser.add_argument("--binary", required=True, type=Path, help="our program `tracks`")
    parser.add_argument("--photos", type=Path, default=assets / "quality-photos",
                        help="folder with t1.jpg")
    parser.add_argument("--films", type=Path, default=assets / "bench" / "tracks")
    parser.add_argument("--count", type=int, default=2, help="films a half and kind")
    parser.add_argument("--out", type=Path, help="folder for tracks.jsonl")
    parser.add_argument("--peers", choices=["all", "none"], default="all")
    parser.add_argument("--half", choices=list(compose_tracks.SEEDS), help="only this half")
    parser.add_argument("--kinds", default="pictures,made")
    arguments = parser.parse_args()
    compose_tracks.compose(arguments.films, assets / "fixtures", arguments.photos, arguments.count)
    out = arguments.out or arguments.films / "results"
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    with open(out / "tracks.jsonl", "w", encoding="utf-8") as file:
        for half in [arguments.half] if arguments.half else compose_tracks.SEEDS:
            for kind in arguments.kinds.split(","):
                prefix = f"made-{half}" if kind == "made" else half
                paths = [arguments.films / f"{prefix}-{n}.mp4" for n in range(arguments.count)]
                detect(arguments.binary, [] if kind == "made" else paths)
                films = [Film(path) for path in paths]
                for every in (5, 1):
                    peers = arguments.peers == "all"
                    for line in measure(arguments.binary, peers, films, half, kind, every):
                        lines.append(line)
                        file.write(json.dumps(line) + "\n")
    table(lines)
    print(f"written to {out / 'tracks.jsonl'}", file=sys.stderr)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        main()
    except (compose_tracks.ComposeError, OSError, subprocess.CalledProcessError) as problem:
        sys.exit(f"bench-quality: error: {problem}")
