"""How many of the tracks that one run found another one finds, too."""

import json

import numpy as np

# A track is long enough to be looked for from so many frames on.
LENGTH_MIN = 12
# Boxes that are known from how a film was made are not those of a detector.
KNOWN_OVERLAP_MIN = 0.25
OVERLAP_MIN = 0.5
SHARE_MIN = 0.5


def read(path):
    """Tracks from lines of JSON: `start`, `end`, `boxes` ([frame, x, y, width, height])."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def boxes_at(track, frames):
    """The track's boxes at these frames, between those that it has."""
    known = np.array(track["boxes"], float)
    known = known[np.argsort(known[:, 0], kind="stable")]
    return np.stack([np.interp(frames, known[:, 0], known[:, i]) for i in range(1, 5)], 1)


def overlap(a, b):
    """IoU of boxes, row by row."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), 1)
    return shared / np.maximum(np.prod(a[:, 2:], 1) + np.prod(b[:, 2:], 1) - shared, 1e-12)


def together(wanted, found):
    """Frames that the two share, if it is the same face; else 0."""
    first, last = max(wanted["start"], found["start"]), min(wanted["end"], found["end"])
    shared = last - first + 1
    shorter = min(t["end"] - t["start"] + 1 for t in (wanted, found))
    if shared <= 0 or shared < SHARE_MIN * shorter:
        return 0
    frames = np.linspace(first, last, min(shared, 20))
    same = overlap(boxes_at(wanted, frames), boxes_at(found, frames)).mean() >= OVERLAP_MIN
    return shared if same else 0


def recall(reference, tracks):
    """The share of the reference's tracks that are found, that of their frames which are covered,
    and the mean cosine of their embeddings to those of the tracks that found them."""
    wanted = [t for t in reference if t["end"] - t["start"] + 1 >= LENGTH_MIN]
    found = frames = covered = 0
    cosines = []
    for track in wanted:
        length = track["end"] - track["start"] + 1
        shared = [(together(track, other), other) for other in tracks]
        shared = [(n, other) for n, other in shared if n]
        frames += length
        covered += min(length, sum(n for n, _ in shared))
        if shared:
            found += 1
            best = max(shared, key=lambda pair: pair[0])[1]
            if track.get("embedding") and best.get("embedding"):
                cosines.append(float(np.dot(track["embedding"], best["embedding"])))
    return {"tracks_wanted": len(wanted),
            "tracks_found": round(found / max(len(wanted), 1), 4),
            "time_covered": round(covered / max(frames, 1), 4),
            "embedding_cosine": round(float(np.mean(cosines)), 4) if cosines else None}


def known_faces(truth, tracks):
    """Of the faces that the film was made of, the share that a track shows in the middle of the
    shot, and the share of their frames that these tracks cover."""
    known = found = frames = covered = 0
    for shot in truth["shots"]:
        first, end = shot["first"], shot["end"]
        middle = (first + end) // 2
        here = [t for t in tracks if t["start"] <= middle <= t["end"]]
        for face in shot["faces"]:
            box = np.array(face["box"]) / np.tile([truth["width"], truth["height"]], 2)
            same = [t for t in here
                    if overlap(boxes_at(t, [middle]), box[None])[0] >= KNOWN_OVERLAP_MIN]
            known += 1
            frames += end - first
            found += bool(same)
            covered += max((min(t["end"] + 1, end) - max(t["start"], first) for t in same),
                           default=0)
    return {"faces_known": known, "known_found": round(found / max(known, 1), 4),
            "known_covered": round(covered / max(frames, 1), 4)}
