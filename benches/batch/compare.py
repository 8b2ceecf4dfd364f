"""How far two folders of a film, as facerec writes them, agree."""

import json
import sys
from collections import defaultdict
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

import numpy as np
from scipy.optimize import linear_sum_assignment

from python_pipeline import overlaps

OVERLAP_MIN = 0.5
CUT_FRAMES_MAX = 1
# Within these the two are called equal: least shares, most frames, least cosines. They were set
# before anything was measured.
TOLERANCES = {
    "boxes_matched": 0.98, "trajectories_matched": 0.95, "ends_within_2_frames": 0.95,
    "cuts_matched": 1.0, "features_matched": 0.98, "cosine_mean": 0.98, "cosine_min": 0.9,
}


class CompareError(Exception):
    """A folder cannot be read; the text says why."""


def read(folder):
    """`trajectories`, `features` and `cuts` of FOLDER/MOVIE-data, whatever its number."""
    found = {"trajectories": [], "features": [], "cuts": []}
    for name in ("trajectories", "features"):
        for path in _files(folder, name, "jsonl"):
            with path.open(encoding="utf-8") as lines:
                found[name] += [json.loads(line) for line in lines]
    for path in _files(folder, "scene_changes", "json"):
        found["cuts"] += json.loads(path.read_text(encoding="utf-8"))["frame_indices"]
    return found


def _files(folder, name, ending):
    paths = sorted(Path(folder).glob(f"*-data/{name}/{name}_*.{ending}"))
    if not paths:
        raise CompareError(f"{folder}: there is no {name}")
    return paths


def pairs(a, b):
    """The pairing of boxes with the largest sum of IoUs, and those: pairs of at least 0.5."""
    shared = overlaps(np.array(a, float), np.array(b, float))
    worth = np.where(shared >= OVERLAP_MIN, shared, 0)
    return [(i, j, shared[i, j]) for i, j in zip(*linear_sum_assignment(-worth))
            if shared[i, j] >= OVERLAP_MIN]


def by_frame(trajectories):
    """For each frame, (number of the trajectory, box)."""
    frames = defaultdict(list)
    for number, trajectory in enumerate(trajectories):
        for i, box in enumerate(trajectory["bbs"]):
            frames[trajectory["start"] + i].append((number, box))
    return frames


def compare(ours, theirs):
    """Shares both ways (of ours that they have, of theirs that we have), and differences."""
    told = _trajectories(ours["trajectories"], theirs["trajectories"])
    cuts = ours["cuts"], theirs["cuts"]
    told["cuts_matched"] = [_near(*cuts), _near(*cuts[::-1])]
    return told | _features(ours["features"], theirs["features"])


def kept(told):
    """For each tolerance, whether it is kept: both ways, where there are two."""
    return {name: told[name] is not None and bool(np.min(told[name]) >= least)
            for name, least in TOLERANCES.items()}


def _trajectories(ours, theirs):
    a, b = by_frame(ours), by_frame(theirs)
    together, ious = np.zeros((len(ours), len(theirs)), int), []
    for frame in a.keys() & b.keys():
        for i, j, iou in pairs([box for _, box in a[frame]], [box for _, box in b[frame]]):
            together[a[frame][i][0], b[frame][j][0]] += 1
            ious.append(iou)
    same = [(i, j) for i, j in zip(*linear_sum_assignment(-together))
            if 2 * together[i, j] >= max(ours[i]["len"], theirs[j]["len"])]
    starts = [abs(ours[i]["start"] - theirs[j]["start"]) for i, j in same]
    ends = [abs(_end(ours[i]) - _end(theirs[j])) for i, j in same]
    near = [start <= 2 and end <= 2 for start, end in zip(starts, ends)]
    boxes = [sum(map(len, frames.values())) for frames in (a, b)]
    return {
        "boxes": boxes, "boxes_matched": [_share(len(ious), n) for n in boxes],
        "iou_mean": _round(np.mean(ious)) if ious else None,
        "trajectories": [len(ours), len(theirs)],
        "trajectories_matched": [_share(len(same), n) for n in (len(ours), len(theirs))],
        "ends_within_2_frames": _share(sum(near), len(near)),
        "start_off_max": max(starts, default=None), "end_off_max": max(ends, default=None),
    }


def _features(ours, theirs):
    a, b = defaultdict(list), defaultdict(list)
    for features, frames in ((ours, a), (theirs, b)):
        for feature in features:
            frames[feature["frame"]].append(feature)
    cosines = []
    for frame in a.keys() & b.keys():
        for i, j, _ in pairs([f["box"] for f in a[frame]], [f["box"] for f in b[frame]]):
            cosines.append(_cosine(a[frame][i]["embedding"], b[frame][j]["embedding"]))
    return {
        "features": [len(ours), len(theirs)],
        "features_matched": [_share(len(cosines), n) for n in (len(ours), len(theirs))],
        "cosine_mean": _round(np.mean(cosines)) if cosines else None,
        "cosine_min": _round(min(cosines)) if cosines else None,
    }


def _near(wanted, found):
    """The share of `wanted` with one of `found` at most a frame away."""
    near = [any(abs(cut - other) <= CUT_FRAMES_MAX for other in found) for cut in wanted]
    return _share(sum(near), len(near))


def _end(trajectory):
    return trajectory["start"] + trajectory["len"]


def _cosine(a, b):
    return float(np.dot(a, b) / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12))


def _share(part, whole):
    """Of nothing, all is there."""
    return _round(part / whole) if whole else 1.0


def _round(value):
    return round(float(value), 4)
