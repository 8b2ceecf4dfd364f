"""The command behind `make bench-cluster`: all faces are there, and are clustered at once.

Corpora, peers and scores are those of benches/identity. Writes results.jsonl, a line a system, and
thresholds.json, what was tried on the other seed, into the folder OUT. A system that fails is a
line with "error" in it; the others go on. The exit code is 2 if it was one of our own.
"""

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "identity")]

import numpy as np

import peers
import run as identity  # puts benches/index on the path
import corpus
import systems
from score import score

BUILD = "cargo build --release -p rollcall-ingest --no-default-features"
# Names of lines: the method, whether it is told the tracks, and what thresholds are tried, if any.
SIMILAR = tuple(round(0.3 + 0.05 * i, 3) for i in range(9))
OWN = {
    "rollcall": ("evidence", False, None),
    "rollcall-tracks": ("evidence", True, None),
    "rollcall-whispers": ("chinese-whispers", False, SIMILAR),
    "rollcall-whispers-tracks": ("chinese-whispers", True, SIMILAR),
    "rollcall-density": ("density", False, SIMILAR),
    "rollcall-density-tracks": ("density", True, SIMILAR),
    "rollcall-streamface": ("streamface", False, SIMILAR),
}
PEERS = ("streamface", "hdbscan", "average-linkage", "chinese-whispers", "chinese-whispers-0.7")
ALL = (*OWN, *PEERS)
# The size that they can do: squares of distances, or a Python loop a face.
PEER_MAX = {"hdbscan": 20_000, "average-linkage": 20_000, "streamface": 100_000,
            "chinese-whispers": 100_000, "chinese-whispers-0.7": 100_000}
KEYS = ("system", "corpus", "n", "tracks", "threshold", "pairwise_p", "pairwise_r", "pairwise_f",
        "bcubed_f", "nmi", "identities", "identities_5plus", "true_identities_5plus",
        "fragments_per_person", "faces_per_s", "wall_s", "cpu_s", "peak_mb", "threads")
line = functools.partial(systems.line, KEYS)


def arguments_of(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", choices=sorted(corpus.KINDS), default="tv")
    parser.add_argument("--n", type=int, default=20_000, help="faces")
    parser.add_argument("--seed", type=int, default=1, help="thresholds are chosen on the next one")
    parser.add_argument("--vectors", type=Path, help="your own faces, .npy, a row each")
    parser.add_argument("--identities", type=Path, help=".npy, a number a face")
    parser.add_argument("--tracks", type=Path, help=".npy, a number a face")
    parser.add_argument("--systems", default="all", help="names with commas between")
    parser.add_argument("--tune-n", type=int, help="faces of the other seed, at most")
    parser.add_argument("--thresholds", type=Path, help="thresholds.json of another run")
    parser.add_argument("--threads", type=int, default=1, help="of our own; peers have one core")
    parser.add_argument("--limit-s", type=float, default=3600, help="for each start of a system")
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--cache", type=Path, help="folder for corpora")
    parser.add_argument("--binary", type=Path, help="rollcall-ingest")
    arguments = parser.parse_args(argv)
    if bool(arguments.vectors) != bool(arguments.identities):
        parser.error("your own data need --vectors and --identities together")
    arguments.systems = list(ALL) if arguments.systems == "all" else arguments.systems.split(",")
    if unknown := set(arguments.systems) - set(ALL):
        parser.error(f"--systems: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    root = identity.ROOT
    target = Path(os.environ.get("CARGO_TARGET_DIR") or root / "target")
    assets = Path(os.environ.get("ROLLCALL_ASSETS") or root / ".assets")
    arguments.cache = arguments.cache or assets / "bench"
    arguments.binary = arguments.binary or target / "release" / "rollcall-ingest"
    arguments.frames = None  # nobody here looks at them
    return arguments


class Runner:
    """Starts systems, each in a process of its own."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.cpu_s = None  # what the last one took of all cores, from its start to its end

    def lines(self, name, folder, thresholds):
        """The lines of a system, one for each threshold."""
        if name in OWN:
            return [self._own(name, folder, threshold) for threshold in thresholds]
        done = self._start([sys.executable, str(Path(peers.__file__)), "--system", name,
                            "--corpus", str(folder),
                            "--thresholds", ",".join(str(threshold) for threshold in thresholds)],
                           identity.ONE_THREAD)
        found = [json.loads(text) for text in done.splitlines() if text.startswith("{")]
        if len(found) != len(thresholds):
            raise identity.RunError(f"gave {len(found)} lines for {len(thresholds)} thresholds")
        cpu_s = self.cpu_s if len(found) == 1 else None
        return [line(**{key: result[key] for key in KEYS if key in result}, threads=1,
                     tracks=False, threshold=threshold, cpu_s=cpu_s)
                for result, threshold in zip(found, thresholds)]

    def _own(self, name, folder, threshold):
        binary = self.arguments.binary
        if not binary.is_file():
            raise identity.RunError(f"{binary} is not there: {BUILD}")
        method, tracks, _ = OWN[name]
        with tempfile.TemporaryDirectory() as temporary:
            labels = Path(temporary) / "labels.npy"
            command = [str(binary), "cluster", str(folder / "vectors.npy"), "--method", method,
                       "--out", str(labels), "--json", "--threads", str(self.arguments.threads),
                       "--memory", "16"]
            if tracks:
                command += ["--tracks", str(folder / "tracks.npy")]
            if threshold is not None:
                given = 1 - threshold if method == "streamface" else threshold
                command += ["--threshold", str(round(given, 6))]
            report = json.loads(self._start(command, {}))
            found = np.load(labels)
        people = np.load(folder / "identities.npy")
        wall_s = report["read_s"] + report["wall_s"]
        return line(system=name, corpus=json.loads((folder / "corpus.json").read_text())["name"],
                    n=len(found), tracks=tracks, threshold=threshold, **score(people, found),
                    faces_per_s=round(len(found) / wall_s), wall_s=round(wall_s, 3),
                    cpu_s=self.cpu_s, peak_mb=report["peak_mb"], threads=report["threads"])

    def _start(self, command, environment):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False,
                                  timeout=self.arguments.limit_s,
                                  env={**os.environ, **environment})
        except subprocess.TimeoutExpired as error:
            raise identity.RunError(f"stopped after {error.timeout:.0f} s") from error
        if done.returncode != 0:
            last = [text for text in done.stderr.splitlines() if text.strip()][-1:]
            raise identity.RunError(f"ended with status {done.returncode}: {' '.join(last)}"[:500])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu_s = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)
        return done.stdout

    def tried(self, name, folder):
        """The BCubed F of thresholds, as pairs: a coarse grid, then halfway around the best."""
        system = systems.SYSTEMS.get(name)
        grid = OWN[name][2] if name in OWN else getattr(system, "grid", systems.COSINES)
        tried = dict(zip(grid, self._bcubed(name, folder, grid)))
        if getattr(system, "fine", True):
            best = max(tried, key=tried.get)
            finer = [round(best + side * systems.STEP, 3) for side in (-1, 1)]
            tried |= zip(finer, self._bcubed(name, folder, finer))
        return sorted(tried.items())

    def _bcubed(self, name, folder, thresholds):
        return [result["bcubed_f"] for result in self.lines(name, folder, thresholds)]


def in_short(result):
    head = f"{result['system']:26}"
    if result.get("error"):
        return f"{head} error: {result['error']}"
    return (f"{head} BCubed F {result['bcubed_f']:.4f}, pairwise P {result['pairwise_p']:.4f} "
            f"R {result['pairwise_r']:.4f}, {result['identities']:,} clusters, "
            f"{result['wall_s']:,.1f} s (of processors {result['cpu_s']:,.1f} s), "
            f"{result['peak_mb']:,} MiB, {result['threads']} threads")


def measure(arguments, out):
    """Runs every system and passes its line on. Returns what was tried of each."""
    folder, other = identity.prepare(arguments)
    n = len(np.load(folder / "tracks.npy", mmap_mode="r"))
    description = json.loads((folder / "corpus.json").read_text())
    runner, tried = Runner(arguments), {}
    if arguments.thresholds:
        tried = json.loads(arguments.thresholds.read_text())
    for name in arguments.systems:
        if n > PEER_MAX.get(name, n):
            identity.say(f"{name:26} left out: {n:,} faces, and it is for {PEER_MAX[name]:,} at most")
            continue
        try:
            threshold = None
            if name not in OWN or OWN[name][2]:
                if name not in tried:
                    tried[name] = runner.tried(name, other)
                threshold = identity.best_of(tried[name])
            result, = runner.lines(name, folder, [threshold])
        except identity.RunError as error:
            result = line(system=name, corpus=description["name"], n=n, error=str(error))
        out(result)
    return tried


def main(argv=None):
    arguments = arguments_of(argv)
    name = "own" if arguments.vectors else f"{arguments.corpus}-{arguments.n}"
    folder = arguments.out or arguments.cache / "results" / f"cluster-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    with open(folder / "results.jsonl", "w", encoding="utf-8") as file:
        def out(result):
            results.append(result)
            file.write(json.dumps(result) + "\n")
            file.flush()
            identity.say(in_short(result))

        try:
            tried = measure(arguments, out)
        except (identity.RunError, corpus.CorpusError) as error:
            identity.say(f"bench-cluster: error: {error}")
            return 2
    (folder / "thresholds.json").write_text(json.dumps(tried, indent=1) + "\n")
    identity.say(f"results: {folder / 'results.jsonl'}")
    failed = [result for result in results if result.get("error")]
    return 2 if any(result["system"] in OWN for result in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
