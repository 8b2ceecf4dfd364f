"""The corpora: unit vectors like those of faces, each with identity, track, frame, source and time.

Two kinds are made, `tv` (people seen often, in tracks of near-duplicates) and `crowd` (many people,
most with a few faces), and anybody's own `.npy` files are brought into the same form. README.md
says what the numbers below stand for. Faces are written in stream order, in chunks: what is held
in memory grows with the number of people, not with that of faces.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinds import DIMENSION, KINDS, unit

VERSION = 1  # of what the generator makes; another one and cached corpora are made anew
QUERIES = 2_000
UNKNOWN_SHARE = 0.3
CHUNK_ROWS = 32_768
STATISTICS_PAIRS = 200_000

FRAME_US = 40_000  # 25 frames a second
FACE_EVERY_FRAMES = 5
SHOT_TRACKS_MAX = 3
SHOT_GAP_FRAMES = 15
HOME_SHARE = 0.7  # of a person's tracks, in the source where they are at home
SOURCES_MAX = 64
FACES_PER_SOURCE_MIN = 2_000
START_US = 1_767_225_600_000_000  # 2026-01-01 00:00:00 UTC

ARRAYS = {"vectors": np.float16, "identities": np.uint64, "tracks": np.uint64,
          "frames": np.uint32, "sources": np.uint32, "times": np.int64,
          "queries": np.float32, "query_identities": np.int64}


class CorpusError(Exception):
    """The data given cannot be made a corpus of; the message says why."""


@dataclass
class Stream:
    """Who is seen where and when, a row a face, in the order of time; tracks count from 0."""

    identities: np.ndarray
    tracks: np.ndarray
    frames: np.ndarray
    sources: np.ndarray
    times: np.ndarray


def plan(kind, n, rng):
    """The stream of a corpus without its vectors. Returns it and the number of people."""
    sizes = kind.sizes(n, rng)
    people = len(sizes)
    person = np.repeat(np.arange(people), sizes)
    starts = rng.random(n) < 1 / kind.track_faces_mean
    starts[np.concatenate([[0], np.cumsum(sizes)[:-1]])] = True
    first = np.flatnonzero(starts)
    length = np.diff(np.append(first, n))
    tracks = len(first)
    who = person[first]

    sources = min(SOURCES_MAX, max(1, n // FACES_PER_SOURCE_MIN))
    home = rng.integers(0, sources, people)[who]
    source = np.where(rng.random(tracks) < HOME_SHARE, home, rng.integers(0, sources, tracks))
    order = np.lexsort((rng.random(tracks), source))
    who, length, source = who[order], length[order], source[order]
    shot = _shots(who, source, rng)

    # A shot lasts as long as its longest track; sources run beside one another.
    longest = np.zeros(shot[-1] + 1, np.int64)
    np.maximum.at(longest, shot, length)
    lasts = longest * FACE_EVERY_FRAMES + SHOT_GAP_FRAMES
    begins = np.cumsum(lasts) - lasts
    opening = np.flatnonzero(np.append(True, source[1:] != source[:-1]))
    base = np.zeros(sources, np.int64)
    base[source[opening]] = begins[shot[opening]]
    begins = begins[shot] - base[source]

    track = np.repeat(np.arange(tracks), length)
    within = np.arange(n) - np.repeat(np.cumsum(length) - length, length)
    frame = begins[track] + within * FACE_EVERY_FRAMES
    # Cameras do not tick together: each is some microseconds off.
    time = frame * FRAME_US + rng.integers(0, FRAME_US, sources)[source[track]]
    order = np.lexsort((track, time))
    track = track[order]
    _, seen = np.unique(track, return_index=True)
    renumbered = np.empty(tracks, np.int64)
    renumbered[np.argsort(seen)] = np.arange(tracks)
    return Stream(who[track], renumbered[track], frame[order], source[track],
                  START_US + time[order]), people


def _shots(who, source, rng):
    """The shot of each track; `who` is changed so that nobody is in a shot twice."""
    tracks = len(who)
    begins = rng.random(tracks) < 0.6
    begins[0] = True
    begins[1:] |= source[1:] != source[:-1]
    shot = np.cumsum(begins) - 1
    place = np.arange(tracks) - np.flatnonzero(begins)[shot]
    shot = np.cumsum(place % SHOT_TRACKS_MAX == 0) - 1
    for _ in range(100):
        twice = np.zeros(tracks, bool)
        for step in range(1, SHOT_TRACKS_MAX):
            twice[step:] |= (shot[step:] == shot[:-step]) & (who[step:] == who[:-step])
        at = np.flatnonzero(twice)
        if not len(at):
            break
        # Split the shot there: the track and those after it become a shot of their own.
        begins = np.append(True, shot[1:] != shot[:-1]) | twice
        shot = np.cumsum(begins) - 1
    return shot


def make(folder, name, n, seed=1):
    """Makes the corpus `name` of `n` faces in `folder`, unless it is there. Returns corpus.json."""
    folder = Path(folder)
    key = {"name": name, "n": n, "seed": seed, "version": VERSION}
    if (known := read_description(folder, key)) is not None:
        return known
    kind = KINDS[name]()
    # One generator a purpose: what one draws does not shift what the others draw.
    shape, layout, person, track, face, query = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6))
    kind.prepare(shape)
    rotation, _ = np.linalg.qr(shape.standard_normal((DIMENSION, DIMENSION)))
    rotation = rotation.astype(np.float32)
    stream, people = plan(kind, n, layout)
    folder.mkdir(parents=True, exist_ok=True)
    means = np.lib.format.open_memmap(folder / "means.part", "w+", np.float16, (people, DIMENSION))
    for at in range(0, people, CHUNK_ROWS):
        rows = slice(at, min(at + CHUNK_ROWS, people))
        means[rows] = kind.people(rows.stop - at, person)
    spread = kind.spreads(np.bincount(stream.identities, minlength=people), person)

    _write_vectors(folder, kind, stream, means, spread, rotation, track, face)
    np.save(folder / "identities.npy", (stream.identities + 1).astype(np.uint64))
    np.save(folder / "tracks.npy", (stream.tracks + 1).astype(np.uint64))
    np.save(folder / "frames.npy", stream.frames.astype(np.uint32))
    np.save(folder / "sources.npy", (stream.sources + 1).astype(np.uint32))
    np.save(folder / "times.npy", stream.times.astype(np.int64))
    _write_queries(folder, kind, stream, means, spread, rotation, query)
    del means
    (folder / "means.part").unlink()
    return describe(folder, key)


def _write_vectors(folder, kind, stream, means, spread, rotation, track_rng, face_rng):
    n = len(stream.identities)
    out = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float16, (n, DIMENSION))
    # Tracks are numbered as they begin: a window of them is alive at any time.
    changes, low, high = None, 0, 0
    alive_from = np.minimum.accumulate(stream.tracks[::-1])[::-1]
    for at in range(0, n, CHUNK_ROWS):
        rows = slice(at, min(at + CHUNK_ROWS, n))
        track, person = stream.tracks[rows], stream.identities[rows]
        if track.max() >= high:
            new = kind.track_changes(int(track.max()) + 1 - high, track_rng)
            changes = new if changes is None else np.concatenate([changes, new])
            high = int(track.max()) + 1
        faces = kind.faces(means[person].astype(np.float32), spread[person],
                           changes[track - low], face_rng)
        out[rows] = unit(faces @ rotation)
        if rows.stop < n:
            changes = changes[int(alive_from[rows.stop]) - low:]
            low = int(alive_from[rows.stop])
    out.flush()


def _write_queries(folder, kind, stream, means, spread, rotation, rng):
    """New faces in new tracks: known people drawn half by face, half by identity, and strangers."""
    unknown = round(QUERIES * UNKNOWN_SHARE)
    by_face = (QUERIES - unknown) // 2
    by_person = QUERIES - unknown - by_face
    who = np.concatenate([stream.identities[rng.integers(0, len(stream.identities), by_face)],
                          rng.integers(0, len(means), by_person)])
    strangers = kind.people(unknown, rng)
    faces = kind.faces(np.concatenate([means[who].astype(np.float32), strangers]),
                       np.concatenate([spread[who], kind.spreads(np.ones(unknown), rng)]),
                       kind.track_changes(QUERIES, rng), rng)
    order = rng.permutation(QUERIES)
    truth = np.concatenate([who + 1, np.full(unknown, -1)])
    np.save(folder / "queries.npy", unit(faces @ rotation)[order].astype(np.float32))
    np.save(folder / "query_identities.npy", truth[order].astype(np.int64))


def own(folder, vectors, identities, queries=None, query_identities=None, tracks=None,
        frames=None):
    """Brings somebody's own files into the form of a corpus. Returns its corpus.json.

    Identities are numbered anew from 1 in the order of their values; a query's identity that no
    face has stands for an unknown person. Without tracks, each face is a track of its own; without
    frames, each has a frame of its own; without queries there are none.
    """
    folder = Path(folder)
    files = list(filter(None, [vectors, identities, queries, query_identities, tracks, frames]))
    key = {"name": "own", "key": fingerprint(files), "version": VERSION}
    if (known := read_description(folder, key)) is not None:
        return known
    x, names = np.load(vectors, mmap_mode="r"), np.load(identities)
    if queries:
        q, query_names = np.load(queries), np.load(query_identities)
    else:
        q, query_names = np.empty((0, *x.shape[1:]), np.float32), names[:0]
    if x.ndim != 2 or q.ndim != 2 or x.shape[1] != q.shape[1]:
        raise CorpusError(f"vectors are {x.shape}, queries {q.shape}: both must be rows of one length")
    if names.shape != x.shape[:1] or query_names.shape != q.shape[:1]:
        raise CorpusError(f"{len(x)} vectors have {names.shape} identities, "
                          f"{len(q)} queries {query_names.shape}: one each is needed")
    known_names, numbers = np.unique(names, return_inverse=True)
    place = np.minimum(np.searchsorted(known_names, query_names), len(known_names) - 1)
    truth = np.where(known_names[place] == query_names, place + 1, -1)
    folder.mkdir(parents=True, exist_ok=True)
    out = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float16, x.shape)
    for at in range(0, len(x), CHUNK_ROWS):
        out[at:at + CHUNK_ROWS] = _checked(x[at:at + CHUNK_ROWS], f"vectors from row {at} on")
    out.flush()
    rows = np.arange(len(x))
    track = np.unique(np.load(tracks), return_inverse=True)[1] + 1 if tracks else rows + 1
    if track.shape != rows.shape:
        raise CorpusError(f"{len(x)} vectors have {len(track)} tracks: one each is needed")
    np.save(folder / "identities.npy", (numbers + 1).astype(np.uint64))
    np.save(folder / "tracks.npy", track.astype(np.uint64))
    frame = np.load(frames) if frames else rows
    if frame.shape != rows.shape:
        raise CorpusError(f"{len(x)} vectors have {len(frame)} frames: one each is needed")
    np.save(folder / "frames.npy", frame.astype(np.uint32))
    np.save(folder / "sources.npy", np.ones(len(x), np.uint32))
    np.save(folder / "times.npy", START_US + rows.astype(np.int64) * FRAME_US)
    np.save(folder / "queries.npy", _checked(q, "queries").astype(np.float32))
    np.save(folder / "query_identities.npy", truth.astype(np.int64))
    return describe(folder, key)


def _checked(x, what):
    x = np.asarray(x, np.float32)
    length = np.linalg.norm(x, axis=1)
    if not np.isfinite(length).all() or not (length > 0).all():
        raise CorpusError(f"{what}: a vector is not finite or has length 0")
    return x / length[:, None]


def fingerprint(files):
    """A name for the state of files: their places, sizes and times."""
    state = [(str(Path(f).resolve()), (s := Path(f).stat()).st_size, s.st_mtime_ns) for f in files]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:12]


def read_description(folder, key):
    """corpus.json of a corpus that is there and is the one meant, else None."""
    path = Path(folder) / "corpus.json"
    if not path.exists():
        return None
    known = json.loads(path.read_text())
    if any(known.get(k) != v for k, v in key.items()):
        path.unlink()  # what follows is no longer what it says
        return None
    return known


def describe(folder, key):
    """Measures the corpus and writes corpus.json, last of all: with it, the corpus is whole."""
    description = {**key, "statistics": statistics(folder)}
    description.setdefault("n", description["statistics"]["faces"])
    description.setdefault("seed", None)
    part = Path(folder) / "corpus.json.part"
    part.write_text(json.dumps(description, indent=1) + "\n")
    part.rename(Path(folder) / "corpus.json")
    return description


def statistics(folder):
    """What the corpus is like: sizes, and cosines of pairs drawn at random.

    `same` pairs: a face drawn at random and another one of the same person, of any track;
    `same_track`: another one of the same track. `different`: two faces of two people.
    """
    folder = Path(folder)
    x = np.load(folder / "vectors.npy", mmap_mode="r")
    identities, tracks = np.load(folder / "identities.npy"), np.load(folder / "tracks.npy")
    truth = np.load(folder / "query_identities.npy")
    rng = np.random.default_rng(0)
    n = len(x)
    sizes = np.bincount(identities.astype(np.int64))[1:]
    pairs = min(STATISTICS_PAIRS, 20 * n)
    a, b = rng.integers(0, n, (2, pairs))
    other = identities[a] != identities[b]
    out = {
        "faces": n, "people": int((sizes > 0).sum()), "tracks": int(len(np.unique(tracks))),
        "sources": int(len(np.unique(np.load(folder / "sources.npy")))),
        "faces_per_person_min": int(sizes.min()),
        "faces_per_person_median": float(np.median(sizes)),
        "faces_per_person_mean": round(float(sizes.mean()), 2),
        "faces_per_person_max": int(sizes.max()),
        "queries": len(truth), "queries_unknown": int((truth < 0).sum()),
    }
    for name, (i, j) in {"different": (a[other], b[other]),
                         "same": _partners(identities, rng, pairs),
                         "same_track": _partners(tracks, rng, pairs)}.items():
        cosines = _cosines(x, i, j)
        out[f"{name}_mean"] = round(float(cosines.mean()), 4) if len(cosines) else None
        out[f"{name}_sd"] = round(float(cosines.std()), 4) if len(cosines) else None
    return out


def _partners(labels, rng, count):
    """Pairs of rows with the same label: a row at random, and any other one with its label."""
    order = np.argsort(labels, kind="stable")
    _, start, size = np.unique(labels[order], return_index=True, return_counts=True)
    group = np.repeat(np.arange(len(start)), size)
    place = rng.integers(0, len(labels), count)
    place = place[size[group[place]] > 1]
    start, size = start[group[place]], size[group[place]]
    partner = start + (place - start + 1 + rng.integers(0, size - 1)) % size
    return order[place], order[partner]


def _cosines(x, i, j):
    # In the order of the file: a corpus may be larger than memory.
    order = np.argsort(i)
    i, j = i[order], j[order]
    out = np.empty(len(i), np.float32)
    for at in range(0, len(i), CHUNK_ROWS):
        part = slice(at, at + CHUNK_ROWS)
        out[part] = np.einsum("ij,ij->i", x[i[part]].astype(np.float32),
                              x[j[part]].astype(np.float32))
    return out


def lines(description):
    """The statistics as lines of text."""
    s = description["statistics"]

    def pair(name):
        mean, sd = s[f"{name}_mean"], s[f"{name}_sd"]
        return "none" if mean is None else f"{mean:.2f} ± {sd:.2f}".replace("-0.00", "0.00")

    return [
        f"corpus {description['name']}: {s['faces']:,} faces of {s['people']:,} people "
        f"(min {s['faces_per_person_min']:,}, median {s['faces_per_person_median']:,.0f}, "
        f"mean {s['faces_per_person_mean']:,.1f}, max {s['faces_per_person_max']:,}), "
        f"{s['tracks']:,} tracks, {s['sources']:,} sources",
        f"cosines: different people {pair('different')}, same person {pair('same')}, "
        f"same track {pair('same_track')}",
        f"queries: {s['queries']:,}, of which {s['queries_unknown']:,} of unknown people",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corpus", choices=sorted(KINDS), default="tv")
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    description = make(arguments.folder, arguments.corpus, arguments.n, arguments.seed)
    print("\n".join(lines(description)), file=sys.stderr)


if __name__ == "__main__":
    main()
