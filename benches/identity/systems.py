"""The peers: each puts faces to identities; one run in a process of its own, on one core.

`systems.py --corpus FOLDER --system flat --thresholds 0.4,0.45` prints a JSON line a threshold, as
`identity_bench` does for our own. Libraries are imported on use. README.md says how each works.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from score import score

KEYS = ("system", "corpus", "n", "order", "pairwise_p", "pairwise_r", "pairwise_f", "bcubed_f",
        "nmi", "identities", "identities_5plus", "true_identities_5plus", "fragments_per_person",
        "faces_per_s", "wall_s", "peak_mb")
COSINES = tuple(round(0.15 + 0.05 * i, 3) for i in range(11))  # tried first, then halfway around
STEP = 0.025
BLOCK = 256  # faces that are compared with all centroids in one product
NEIGHBOURS = 80
WHISPERS = 20


def line(keys=KEYS, **values):
    """One result with all keys, null where nothing is given; an error comes last."""
    unknown = values.keys() - set(keys) - {"error"}
    assert not unknown, unknown
    out = {key: values.get(key) for key in keys}
    if "error" in values:
        out["error"] = values["error"]
    return out


class Data:
    """A corpus: float32 vectors, people, tracks by row, and the rows in the order they come in."""

    def __init__(self, folder, shuffled=None):
        folder = Path(folder)
        self.name = json.loads((folder / "corpus.json").read_text())["name"]
        self.vectors = np.load(folder / "vectors.npy").astype(np.float32)
        self.people = np.load(folder / "identities.npy").astype(np.int64)
        self.tracks = np.load(folder / "tracks.npy").astype(np.int64) - 1
        self.order = (np.load(shuffled).astype(np.int64) if shuffled
                      else np.arange(len(self.people)))
        self.order_name = "shuffled" if shuffled else "stream"


def greedy(x, masses, threshold):
    """A label a row: the nearest centroid so far if it is `threshold` alike, else a new one.

    A centroid is the sum of its members' `masses`, at length 1. A block of rows is multiplied with
    all centroids at once; those that change within the block are compared anew, so that what comes
    out is what it would be row by row.
    """
    n, width = x.shape
    sums, units, count = np.zeros((1024, width), np.float32), np.zeros((1024, width), np.float32), 0
    labels = np.empty(n, np.int64)
    changed, place = np.empty((BLOCK, width), np.float32), {}
    for at in range(0, n, BLOCK):
        block = x[at:at + BLOCK]
        if count + BLOCK > len(sums):
            sums, units = (np.concatenate([a, np.zeros_like(a)]) for a in (sums, units))
        scores = block @ units[:count].T
        names, old = [], count
        place.clear()
        for i, row in enumerate(block):
            best, who = -np.inf, -1
            if old:
                who = int(scores[i].argmax())
                best = scores[i, who]
            if names:
                fresh = changed[:len(names)] @ row
                nearest = int(fresh.argmax())
                if fresh[nearest] > best:
                    best, who = fresh[nearest], names[nearest]
            if best < threshold:
                who, count = count, count + 1
            if who not in place:
                place[who] = len(names)
                names.append(who)
                if who < old:
                    scores[i + 1:, who] = -np.inf
            sums[who] += masses[at + i]
            units[who] = sums[who] / max(np.sqrt(sums[who] @ sums[who]), 1e-12)
            changed[place[who]] = units[who]
            labels[at + i] = who
    return labels


class Flat:
    """Running centroids, a face at a time."""

    def run(self, data, threshold):
        x = data.vectors[data.order]
        found = np.empty(len(x), np.int64)
        found[data.order] = greedy(x, x, threshold)
        return found


class FlatTracks:
    """Running centroids, a track at a time when its last face is there."""

    def run(self, data, threshold):
        ends = np.zeros(data.tracks.max() + 1, np.int64)
        ends[data.tracks[data.order]] = np.arange(len(data.order))  # the last one stays
        come = np.argsort(ends)
        by_track = np.argsort(data.tracks, kind="stable")
        first = np.flatnonzero(np.diff(data.tracks[by_track], prepend=-1))
        sums = np.add.reduceat(data.vectors[by_track], first, axis=0)
        means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        labels = np.empty(len(come), np.int64)
        labels[come] = greedy(means[come], sums[come], threshold)
        return labels[data.tracks]


class ChineseWhispers:
    """Labels pass along the edges between near neighbours until nothing changes, or 20 times."""

    offline = True

    def run(self, data, threshold):
        graph = self.graph(data.vectors)
        graph.data[graph.data < threshold] = 0
        graph.eliminate_zeros()
        labels = np.arange(len(data.vectors))
        rng = np.random.default_rng(0)
        for _ in range(WHISPERS):
            changes = 0
            for i in rng.permutation(len(labels)):
                edges = slice(graph.indptr[i], graph.indptr[i + 1])
                if edges.start == edges.stop:
                    continue
                names, which = np.unique(labels[graph.indices[edges]], return_inverse=True)
                best = names[np.bincount(which, graph.data[edges]).argmax()]
                changes += best != labels[i]
                labels[i] = best
            if not changes:
                break
        return labels

    def graph(self, x):
        """The cosine of each face and its nearest, in both directions."""
        import faiss
        from scipy.sparse import csr_matrix

        index = faiss.IndexFlatIP(x.shape[1])
        index.add(x)
        cosines, near = index.search(x, min(NEIGHBOURS + 1, len(x)))
        rows = np.repeat(np.arange(len(x)), near.shape[1])
        others = rows != near.ravel()
        graph = csr_matrix((cosines.ravel()[others], (rows[others], near.ravel()[others])),
                           shape=(len(x), len(x)))
        return graph.maximum(graph.T).tocsr()


class AverageLinkage:
    """A tree by average cosine distance, cut at 1 - threshold."""

    offline = True
    tree = None

    def run(self, data, threshold):
        from scipy.cluster.hierarchy import fcluster, linkage

        if self.tree is None:
            self.tree = linkage(self.distances(data.vectors), "average")
        return fcluster(self.tree, 1 - threshold, "distance")

    def distances(self, x):
        """The upper triangle without the diagonal, row after row."""
        n = len(x)
        out, to = np.empty(n * (n - 1) // 2), 0
        for at in range(0, n, BLOCK):
            for i, row in enumerate(x[at:at + BLOCK] @ x.T, start=at):
                out[to:to + n - i - 1] = 1 - row[i + 1:]
                to += n - i - 1
        return np.maximum(out, 0, out=out)


class Hdbscan:
    """Its threshold is the least size of a cluster; a face in none is alone."""

    offline = True
    grid, fine = (2, 3, 5, 10), False

    def run(self, data, threshold):
        from sklearn.cluster import HDBSCAN

        labels = HDBSCAN(min_cluster_size=int(threshold), algorithm="brute", n_jobs=1,
                         copy=False).fit(data.vectors).labels_
        alone = np.flatnonzero(labels < 0)
        labels[alone] = labels.max() + 1 + np.arange(len(alone))
        return labels


SYSTEMS = {"flat": Flat, "flat-tracks": FlatTracks, "chinese-whispers": ChineseWhispers,
           "average-linkage": AverageLinkage, "hdbscan": Hdbscan}


def peak_mb():
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith("VmHWM:"):
            return int(text.split()[1]) // 1024
    return None


def run(name, data, thresholds):
    """A line for each threshold."""
    system = SYSTEMS[name]()
    for threshold in thresholds:
        began = time.perf_counter()
        found = system.run(data, threshold)
        wall_s = time.perf_counter() - began
        yield line(system=name, corpus=data.name, n=len(found), order=data.order_name,
                   **score(data.people, found), faces_per_s=round(len(found) / wall_s),
                   wall_s=round(wall_s, 5), peak_mb=peak_mb())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--system", choices=SYSTEMS, required=True)
    parser.add_argument("--thresholds", required=True)
    parser.add_argument("--shuffled", type=Path)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    data = Data(arguments.corpus, arguments.shuffled)
    for result in run(arguments.system, data, map(float, arguments.thresholds.split(","))):
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.exit(main())
