"""The command behind `make bench-identity`: our assignment of faces to identities beside others.

Writes results.jsonl, a line a system, and thresholds.json, what was tried on the other seed, into
the folder OUT. A system that fails is a line with "error" in it; the others go on. The exit code
is 2 if it was one of our own.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "index")]

import numpy as np

import corpus
import systems

ROOT = Path(__file__).resolve().parents[2]
BUILD = "cargo build --release -p rollcall-benches --no-default-features --features models " \
        "--bin identity_bench"
# Names of lines, and what identity_bench calls them; `-tuned` has the threshold that the other
# seed says is best, without it that of the server's model.
OWN = {"rollcall": "rollcall", "rollcall-tuned": "rollcall", "rollcall-once": "rollcall-once",
       "rollcall-once-tuned": "rollcall-once", "rollcall-repaired": "rollcall-repaired",
       "rollcall-repaired-tuned": "rollcall-repaired", "hri": "hri"}
OURS = tuple(name for name in OWN if name.startswith("rollcall"))
ALL = (*OWN, *systems.SYSTEMS)
SAME_COSINE = 0.4  # as the manifest of the server's model has it
OFFLINE_MAX = 20_000
TUNE_MAX = 200_000
LIMIT_S = 3 * 3600
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
              "RAYON_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class RunError(Exception):
    """The run cannot start, or a system failed; the message says why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments_of(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", choices=sorted(corpus.KINDS), default="tv")
    parser.add_argument("--n", type=int, default=200_000, help="faces")
    parser.add_argument("--seed", type=int, default=1, help="thresholds are chosen on the next one")
    parser.add_argument("--vectors", type=Path, help="your own faces, .npy, a row each, in order")
    parser.add_argument("--identities", type=Path, help=".npy, a number a face")
    parser.add_argument("--tracks", type=Path, help=".npy, a number a face")
    parser.add_argument("--frames", type=Path, help=".npy, a number a face")
    parser.add_argument("--order", choices=("stream", "shuffled"), default="stream")
    parser.add_argument("--systems", default="all", help="names with commas between")
    parser.add_argument("--tune-n", type=int, help="faces of the other seed, at most")
    parser.add_argument("--thresholds", type=Path, help="thresholds.json of another run")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="for each start of a system")
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--cache", type=Path, help="folder for corpora")
    parser.add_argument("--binary", type=Path, help="our own benchmark")
    arguments = parser.parse_args(argv)
    if bool(arguments.vectors) != bool(arguments.identities):
        parser.error("your own data need --vectors and --identities together")
    arguments.systems = list(ALL) if arguments.systems == "all" else arguments.systems.split(",")
    if unknown := set(arguments.systems) - set(ALL):
        parser.error(f"--systems: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    assets = Path(os.environ.get("ROLLCALL_ASSETS") or ROOT / ".assets")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    arguments.cache = arguments.cache or assets / "bench"
    arguments.binary = arguments.binary or target / "release" / "identity_bench"
    return arguments


def prepare(arguments):
    """The folder of the corpus that is scored, and of the one that thresholds are chosen on."""
    if arguments.vectors:
        files = [arguments.vectors, arguments.identities, arguments.tracks, arguments.frames]
        for file in filter(None, files):
            if not file.is_file():
                raise RunError(f"{file}: no such file")
        folder = arguments.cache / f"own-{corpus.fingerprint(list(filter(None, files)))}"
        description = corpus.own(folder, arguments.vectors, arguments.identities,
                                 tracks=arguments.tracks, frames=arguments.frames)
        say("\n".join(corpus.lines(description)))
        return folder, folder
    if arguments.n < 100:
        raise RunError("N is to be 100 or more")
    tune_n = min(arguments.n, arguments.tune_n or TUNE_MAX)
    folders = []
    for n, seed in ((arguments.n, arguments.seed), (tune_n, arguments.seed + 1)):
        name = f"{arguments.corpus}-{n}" + ("" if seed == 1 else f"-seed{seed}")
        folders.append(arguments.cache / name)
        say(f"corpus: {folders[-1]}")
        description = corpus.make(folders[-1], arguments.corpus, n, seed)
        say("\n".join(corpus.lines(description)))
    return folders


def shuffle(folder):
    """shuffled.npy: the rows with tracks in a random order, those of a track as they were."""
    tracks = np.load(folder / "tracks.npy").astype(np.int64)
    place = np.random.default_rng(7).permutation(tracks.max() + 1)
    order = np.lexsort((np.arange(len(tracks)), place[tracks]))
    np.save(folder / "shuffled.npy", order.astype(np.uint64))
    return folder / "shuffled.npy"


class Runner:
    """Starts systems, each in a process of its own."""

    def __init__(self, arguments):
        self.arguments = arguments

    def lines(self, name, folder, thresholds):
        """The lines of a system, one for each threshold."""
        own = name in OWN
        if own and not self.arguments.binary.is_file():
            raise RunError(f"{self.arguments.binary} is not there: {BUILD}")
        program = ([str(self.arguments.binary), "--system", OWN[name]] if own else
                   [sys.executable, str(Path(systems.__file__)), "--system", name])
        command = [*program, "--corpus", str(folder),
                   "--thresholds", ",".join(str(threshold) for threshold in thresholds)]
        if self.arguments.order == "shuffled":
            command += ["--shuffled", str(shuffle(folder))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False,
                                  timeout=self.arguments.limit_s,
                                  env={**os.environ, **ONE_THREAD})
        except subprocess.TimeoutExpired as error:
            raise RunError(f"stopped after {error.timeout:.0f} s") from error
        if done.returncode != 0:
            last = [text for text in done.stderr.splitlines() if text.strip()][-1:]
            raise RunError(" ".join([f"ended with status {done.returncode}:", *last])[:500])
        found = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
        if len(found) != len(thresholds) or any(set(r) != set(systems.KEYS) for r in found):
            raise RunError(f"gave {len(found)} lines for {len(thresholds)} thresholds, or other keys")
        return [{key: name if key == "system" else result[key] for key in systems.KEYS}
                for result in found]

    def tried(self, name, folder):
        """The BCubed F of thresholds, as pairs: a coarse grid, then halfway around the best."""
        system = systems.SYSTEMS.get(name)
        grid = getattr(system, "grid", systems.COSINES)
        tried = dict(zip(grid, self._bcubed(name, folder, grid)))
        if getattr(system, "fine", True):
            best = max(tried, key=tried.get)
            finer = [round(best + side * systems.STEP, 3) for side in (-1, 1)]
            tried |= zip(finer, self._bcubed(name, folder, finer))
        return sorted(tried.items())

    def _bcubed(self, name, folder, thresholds):
        return [result["bcubed_f"] for result in self.lines(name, folder, thresholds)]


def best_of(tried):
    """The threshold with the best BCubed F; of several, the highest."""
    return max(tried, key=lambda pair: (pair[1], pair[0]))[0]


def in_short(result):
    head = f"{result['system']:20}"
    if result.get("error"):
        return f"{head} error: {result['error']}"
    return (f"{head} BCubed F {result['bcubed_f']:.4f}, pairwise P {result['pairwise_p']:.4f} "
            f"R {result['pairwise_r']:.4f}, of 5 faces and more {result['identities_5plus']:,} "
            f"for {result['true_identities_5plus']:,}, {result['faces_per_s']:,.0f} faces/s")


def measure(arguments, out):
    """Runs every system and passes its line on. Returns what was tried of each."""
    folder, other = prepare(arguments)
    n = len(np.load(folder / "tracks.npy", mmap_mode="r"))
    description = json.loads((folder / "corpus.json").read_text())
    runner, tried = Runner(arguments), {}
    if arguments.thresholds:
        tried = json.loads(arguments.thresholds.read_text())
    for name in arguments.systems:
        if n > OFFLINE_MAX and getattr(systems.SYSTEMS.get(name), "offline", False):
            say(f"{name:20} left out: {n:,} faces, and it is for {OFFLINE_MAX:,} at most")
            continue
        try:
            threshold = SAME_COSINE
            if name not in OURS or name.endswith("-tuned"):
                kind = OWN.get(name, name)
                if kind not in tried:
                    tried[kind] = runner.tried(name, other)
                threshold = best_of(tried[kind])
                say(f"{name:20} threshold {threshold}")
            result, = runner.lines(name, folder, [threshold])
        except RunError as error:
            result = systems.line(system=name, corpus=description["name"], n=n,
                                  order=arguments.order, error=str(error))
        out(result)
    return tried


def main(argv=None):
    arguments = arguments_of(argv)
    name = "own" if arguments.vectors else f"{arguments.corpus}-{arguments.n}"
    folder = arguments.out or arguments.cache / "results" / f"identity-{name}-{arguments.order}"
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    with open(folder / "results.jsonl", "w", encoding="utf-8") as file:
        def out(result):
            results.append(result)
            file.write(json.dumps(result) + "\n")
            file.flush()
            say(in_short(result))

        try:
            tried = measure(arguments, out)
        except (RunError, corpus.CorpusError) as error:
            say(f"bench-identity: error: {error}")
            return 2
    (folder / "thresholds.json").write_text(json.dumps(tried, indent=1) + "\n")
    say(f"results: {folder / 'results.jsonl'}")
    failed = [result for result in results if result.get("error")]
    return 2 if any(result["system"] in OURS for result in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
