"""Peers: each one in a process of its own, its searches pinned to one core, one query a call.

`peers.py --corpus FOLDER --peers faiss,scann` prints a JSON line a system and setting. What is asked
and timed is said in README.md; how each peer is built and which of its knobs is turned, in
systems.py.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import metrics

KEYS = ("system", "corpus", "n", "question", "setting", "recall_at_1", "recall_at_10",
        "recall_at_100", "rank1", "fnir_at_fpir_1pct", "qps", "p50_us", "p99_us", "build_s",
        "peak_mb", "bytes_per_face", "hot_bytes_per_face")
QUESTIONS = ("faces", "who")

K, K_LONG = 10, 100
WARM_UP = 20
QUERIES_MIN = 200  # timed at each setting, however slow
UNKNOWN_MIN = 100  # below, 1 % of them is nobody
SETTING_S = 10.0  # past this no further queries at a setting
REPEAT_BELOW_S = 5.0  # a short pass is made twice and the faster one counts
ENOUGH = 0.9995  # of recall@10 (faces) or of exact search's rank-1 (who): no further settings
GAIN_MIN = 0.0005  # nor after two settings in a row that gained less
PEER_S = 3 * 3600
CHUNK_ROWS = 65_536


def line(**values):
    """One result with all keys, null where nothing is given; an error comes last."""
    unknown = values.keys() - set(KEYS) - {"error"}
    assert not unknown, unknown
    out = {key: values.get(key) for key in KEYS}
    if "error" in values:
        out["error"] = values["error"]
    return json.dumps(out)


class Data:
    """What a peer is built from: rows of float32 at length 1, read from float16 or float32."""

    def __init__(self, path, question):
        self.path, self.question = Path(path), question
        rows = np.load(path, mmap_mode="r")
        self.n, self.dimension = rows.shape
        self._type, self._offset = rows.dtype, rows.offset

    def read(self, start, stop):
        # Read, not mapped: mapped pages would count as the peer's memory.
        count = (min(stop, self.n) - start) * self.dimension
        at = self._offset + start * self.dimension * self._type.itemsize
        with open(self.path, "rb") as file:
            rows = np.fromfile(file, self._type, count, offset=at)
        return rows.reshape(-1, self.dimension).astype(np.float32)

    def chunks(self, rows=CHUNK_ROWS):
        """Pairs of a first row's number and a chunk from there on."""
        for at in range(0, self.n, rows):
            yield at, self.read(at, at + rows)

    def all(self):
        out = np.empty((self.n, self.dimension), np.float32)
        for at, chunk in self.chunks():
            out[at:at + len(chunk)] = chunk
        return out

    def sample(self, count, seed=5):
        if count >= self.n:
            return self.all()
        rows = np.sort(np.random.default_rng(seed).choice(self.n, count, replace=False))
        return np.concatenate([chunk[rows[(rows >= at) & (rows < at + len(chunk))] - at]
                               for at, chunk in self.chunks()])


def identity_means(folder):
    """means.npy: row i is the mean of the faces of identity i + 1, float32 at length 1."""
    path = Path(folder) / "means.npy"
    if path.exists() and path.stat().st_mtime >= (Path(folder) / "corpus.json").stat().st_mtime:
        return path
    identities = np.load(Path(folder) / "identities.npy").astype(np.int64) - 1
    data = Data(Path(folder) / "vectors.npy", "faces")
    sums = np.zeros((identities.max() + 1, data.dimension), np.float32)
    for at, chunk in data.chunks():
        mine = identities[at:at + len(chunk)]
        order = np.argsort(mine, kind="stable")
        present, first = np.unique(mine[order], return_index=True)
        sums[present] += np.add.reduceat(chunk[order], first, axis=0)
    for at in range(0, len(sums), CHUNK_ROWS):
        some = sums[at:at + CHUNK_ROWS]
        some /= np.maximum(np.linalg.norm(some, axis=1, keepdims=True), 1e-12)
    part = Path(folder) / "means.npy.part"
    with open(part, "wb") as file:
        np.save(file, sums)
    part.rename(path)
    return path


class Judge:
    """The queries of a corpus and what counts as right."""

    def __init__(self, folder, question, rows_path):
        folder = Path(folder)
        self.question = question
        self.queries = np.ascontiguousarray(np.load(folder / "queries.npy"))
        self.meant = np.load(folder / "query_identities.npy")
        self.identities = np.load(folder / "identities.npy").astype(np.int64)
        self.truth = np.load(folder / "truth_faces.npy") if question == "faces" else None
        self.rows = np.load(rows_path, mmap_mode="r")

    def accuracy(self, found, found_long):
        """The accuracies of `found`: for the first len(found) queries, their rows, best first."""
        count = len(found)
        first = found[:, 0]
        some = first >= 0
        if self.question == "faces":
            named = np.where(some, self.identities[np.maximum(first, 0)], 0)
        else:
            named = np.where(some, first + 1, 0)
        best = self.rows[np.maximum(first, 0)].astype(np.float32)
        # The peer's own scores may be estimates: all are judged by the true cosine.
        scores = np.where(some, np.einsum("ij,ij->i", best, self.queries[:count]), -np.inf)
        meant = self.meant[:count]
        out = {"rank1": _rounded(metrics.rank1(named, meant))}
        if (meant == metrics.UNKNOWN).sum() >= UNKNOWN_MIN:
            out["fnir_at_fpir_1pct"] = _rounded(metrics.fnir_at_fpir(named, scores, meant))
        if self.question == "faces":
            truth = self.truth[:count]
            out["recall_at_1"] = _rounded(metrics.recall(found, truth, 1))
            out["recall_at_10"] = _rounded(metrics.recall(found, truth, 10))
            if len(found_long):
                out["recall_at_100"] = _rounded(
                    metrics.recall(found_long, truth[:len(found_long)], 100))
        return out


def _rounded(value):
    return None if value is None else round(value, 5)


def timed(search, queries):
    """One pass, a query a call. Returns the nanoseconds of each and the rows found."""
    took, found = [], np.full((len(queries), K), -1, np.int64)
    began = time.perf_counter()
    for at, query in enumerate(queries):
        start = time.perf_counter_ns()
        rows = search(query, K)
        took.append(time.perf_counter_ns() - start)
        rows = np.asarray(rows).ravel()[:K].astype(np.int64)
        found[at, :len(rows)] = rows
        if at + 1 >= QUERIES_MIN and time.perf_counter() - began > SETTING_S:
            break
    return np.array(took), found[:len(took)]


def measure(search, judge):
    """A setting's times and accuracies."""
    for query in judge.queries[:WARM_UP]:
        search(query, K)
    took, found = timed(search, judge.queries)
    if took.sum() < REPEAT_BELOW_S * 1e9:
        again, found_again = timed(search, judge.queries)
        if again.mean() < took.mean():
            took, found = again, found_again
    found_long = []
    if judge.question == "faces":
        began = time.perf_counter()
        for query in judge.queries[:len(took)]:
            rows = np.asarray(search(query, K_LONG)).ravel()[:K_LONG].astype(np.int64)
            found_long.append(np.pad(rows, (0, K_LONG - len(rows)), constant_values=-1))
            if len(found_long) >= QUERIES_MIN and time.perf_counter() - began > SETTING_S:
                break
    return {**judge.accuracy(found, np.array(found_long)),
            "qps": round(1e9 / took.mean(), 1),
            "p50_us": round(float(np.quantile(took, 0.5)) / 1e3, 1),
            "p99_us": round(float(np.quantile(took, 0.99)) / 1e3, 1)}, len(took)


def pin():
    """Keeps every thread of this process on the last core it may use."""
    core = max(os.sched_getaffinity(0))
    for task in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(task), {core})
        except ProcessLookupError:
            pass


def status_kb(key):
    """A line of /proc/self/status, such as VmRSS or VmHWM."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith(key + ":"):
            return int(text.split()[1])
    return 0


def settled_rss():
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except OSError:
        pass  # not glibc: what is free in the heap counts as well
    return status_kb("VmRSS") * 1024


def run_one(name, question, folder, scratch):
    """Builds one peer and prints a line for each of its settings; in a process of its own."""
    import systems

    corpus = json.loads((Path(folder) / "corpus.json").read_text())
    path = Path(folder) / ("vectors.npy" if question == "faces" else "means.npy")
    system = systems.SYSTEMS[name]()
    before = settled_rss()
    began = time.perf_counter()
    system.build(Data(path, question), Path(scratch), len(os.sched_getaffinity(0)))
    build_s = time.perf_counter() - began + getattr(system, "reused_s", 0.0)
    size = system.size(Path(scratch))
    size = settled_rss() - before if size is None else size
    peak = status_kb("VmHWM")
    pin()
    judge = Judge(folder, question, path)
    common = {"system": name, "corpus": corpus["name"], "n": corpus["n"], "question": question,
              "build_s": round(build_s, 2), "peak_mb": round(peak / 1024, 1),
              "bytes_per_face": round(size / corpus["n"], 1)}
    reachable = 1.0
    if question == "who":
        reachable = _exact_rank1(judge)
    curve = []
    for setting, search in system.settings():
        try:
            result, count = measure(search, judge)
        except Exception as error:  # noqa: BLE001 a peer may raise anything
            print(line(**common, setting=setting, error=f"{type(error).__name__}: {error}"[:500]),
                  flush=True)
            continue
        if system.exact and question == "faces":
            result |= judge.accuracy(judge.truth[:, :K], judge.truth)
        if count < len(judge.queries):
            setting += f" queries={count}"
        print(line(**common, setting=setting, **result), flush=True)
        curve.append(result["recall_at_10"] if question == "faces" else result["rank1"] / reachable)
        if curve[-1] >= ENOUGH or len(curve) > 2 and curve[-1] - curve[-3] < GAIN_MIN:
            break


def _exact_rank1(judge):
    means, best = judge.rows, None
    for at in range(0, len(means), CHUNK_ROWS):
        scores = judge.queries @ np.asarray(means[at:at + CHUNK_ROWS]).T
        column = scores.argmax(1)
        score = scores[np.arange(len(column)), column]
        if best is None:
            best, row = score, column
        else:
            row = np.where(score > best, column + at, row)
            best = np.maximum(score, best)
    return metrics.rank1(row + 1, judge.meant) or 1.0


def chosen(names):
    """The systems meant by names such as `scann` or `faiss`, which stands for all of faiss."""
    import systems

    if names in ("", "none"):
        return []
    if names == "all":
        return list(systems.SYSTEMS)
    out = []
    for name in names.split(","):
        mine = [s for s in systems.SYSTEMS if s == name or s.startswith(name + "-")]
        if not mine:
            raise SystemExit(f"no peer is called {name!r}; there are {', '.join(systems.SYSTEMS)}")
        out += [s for s in mine if s not in out]
    return out


def run(folder, names, questions, out, limit_s=PEER_S):
    """Runs peers one after another and passes each line to `out`; a failure is a line as well."""
    import systems

    folder = Path(folder)
    corpus = json.loads((folder / "corpus.json").read_text())
    if names and "who" in questions:
        identity_means(folder)
    for name in names:
        for question in questions:
            if question not in systems.SYSTEMS[name].questions:
                continue
            common = {"system": name, "corpus": corpus["name"], "n": corpus["n"],
                      "question": question}
            error = _run_child(folder, name, question, out, limit_s)
            if error is not None:
                out(line(**common, error=error))


def _run_child(folder, name, question, out, limit_s):
    """Runs one peer and passes its lines on. Returns what went wrong, or None."""
    import systems

    # Passive: threads that wait for work leave the cores to those that have some.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_WAIT_POLICY": "passive",
                   **systems.SYSTEMS[name].environment}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="scratch-") as scratch, \
            tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, str(Path(__file__).resolve()), "--corpus", str(folder),
                   "--one", name, "--questions", question, "--scratch", scratch]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True,
                              env=environment) as child:
            began = time.monotonic()
            watch = threading.Timer(limit_s, child.kill)
            watch.start()
            for text in child.stdout:
                if text.startswith("{"):  # a peer may print what it likes
                    out(text.rstrip("\n"))
        watch.cancel()
        if child.returncode == 0:
            return None
        if time.monotonic() - began >= limit_s:
            return f"stopped after {limit_s:.0f} s"
        said.seek(0)
        last = [text for text in said.read().splitlines() if text.strip()][-1:]
        # Below 0 it is the signal that ended it, and what was said last may be anything.
        return " ".join([f"ended with status {child.returncode}:", *last])[:500]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder with corpus and truth")
    parser.add_argument("--peers", default="all", help="names, comma between them; or all")
    parser.add_argument("--questions", default=",".join(QUESTIONS))
    parser.add_argument("--limit-s", type=float, default=PEER_S, help="for each peer and question")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(arguments.one, arguments.questions, arguments.corpus, arguments.scratch)
        return
    run(arguments.corpus, chosen(arguments.peers), arguments.questions.split(","),
        lambda text: print(text, flush=True), arguments.limit_s)


if __name__ == "__main__":
    main()
