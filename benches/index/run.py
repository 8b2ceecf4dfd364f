"""The command behind `make bench-index`: corpus, truth, our index, its peers, one page.

Writes results.jsonl and index.html into the folder OUT. A benchmark that fails is a line with
"error" in it and is told of at the end; the others go on. The exit code is 2 if it was our own.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import corpus
import page
import peers
import truth

ROOT = Path(__file__).resolve().parents[2]
OWN = "rollcall"
BUILD = "cargo build --release -p rollcall-benches --bin index_bench"


class RunError(Exception):
    """The run cannot start; the message says what to do."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def arguments_of(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", choices=sorted(corpus.KINDS), default="tv")
    parser.add_argument("--n", type=int, default=1_000_000, help="faces")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vectors", type=Path, help="your own faces, .npy, a row each")
    parser.add_argument("--identities", type=Path, help=".npy, a number a face")
    parser.add_argument("--tracks", type=Path, help=".npy, a number a face")
    parser.add_argument("--queries", type=Path, help=".npy, a row each")
    parser.add_argument("--query-identities", type=Path, help=".npy, -1 for unknown people")
    parser.add_argument("--peers", default="all", help="all, none, or names with commas between")
    parser.add_argument("--questions", default=",".join(peers.QUESTIONS), help="asked of the peers")
    parser.add_argument("--peer-limit-s", type=float, default=peers.PEER_S)
    parser.add_argument("--beside", type=Path, nargs="+", default=[],
                        help="results.jsonl of other sizes, for the curve of growth")
    parser.add_argument("--out", type=Path, help="folder for results.jsonl and index.html")
    parser.add_argument("--cache", type=Path, help="folder for corpora")
    parser.add_argument("--binary", type=Path, help="our own benchmark; `none` leaves it out")
    arguments = parser.parse_args(argv)
    own = [arguments.vectors, arguments.identities, arguments.queries, arguments.query_identities]
    if any(own) and not all(own):
        parser.error("your own data need --vectors, --identities, --queries and "
                     "--query-identities together")
    if not set(arguments.questions.split(",")) <= set(peers.QUESTIONS):
        parser.error(f"--questions are of {', '.join(peers.QUESTIONS)}")
    assets = Path(os.environ.get("ROLLCALL_ASSETS") or ROOT / ".assets")
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    arguments.cache = arguments.cache or assets / "bench"
    arguments.binary = arguments.binary or target / "release" / "index_bench"
    return arguments


def prepare(arguments):
    """Makes the corpus and its truth, or finds them. Returns their folder."""
    if arguments.vectors:
        files = [arguments.vectors, arguments.identities, arguments.queries,
                 arguments.query_identities]
        for file in filter(None, [*files, arguments.tracks]):
            if not file.is_file():
                raise RunError(f"{file}: no such file")
        key = corpus.fingerprint(list(filter(None, [*files, arguments.tracks])))
        folder = arguments.cache / f"own-{key}"
        say(f"corpus: {folder}")
        description = corpus.own(folder, *files, arguments.tracks)
    else:
        if arguments.n < 100:
            raise RunError("N is to be 100 or more")
        seed = "" if arguments.seed == 1 else f"-seed{arguments.seed}"
        folder = arguments.cache / f"{arguments.corpus}-{arguments.n}{seed}"
        say(f"corpus: {folder}")
        description = corpus.make(folder, arguments.corpus, arguments.n, arguments.seed)
    say("\n".join(corpus.lines(description)))
    say("\n".join(truth.lines(truth.make(folder))))
    return folder


class Results:
    """Lines as they come in: kept, written, and told of in short."""

    def __init__(self, path):
        self.lines = []
        self._file = open(path, "w", encoding="utf-8")

    def add(self, text):
        result = json.loads(text)
        self.lines.append(result)
        self._file.write(text + "\n")
        self._file.flush()
        say(in_short(result))

    def close(self):
        self._file.close()

    @property
    def errors(self):
        return [result for result in self.lines if result.get("error")]


def in_short(result):
    head = f"{result['question'] or '':7} {result['system']:18} {result['setting'] or ''}"
    if result.get("error"):
        return f"{head}: error: {result['error']}"
    shown = [f"{name} {result[key]:{form}}" for key, name, form in (
        ("recall_at_10", "recall@10", ".4f"), ("rank1", "rank-1", ".4f"), ("qps", "QPS", ",.0f"),
        ("p50_us", "p50 us", ",.1f"), ("build_s", "build s", ",.1f")) if result.get(key) is not None]
    return f"{head}: {', '.join(shown)}"


def run_own(binary, folder, results):
    """Runs our own benchmark and copies its lines."""
    description = json.loads((folder / "corpus.json").read_text())
    common = {"system": OWN, "corpus": description["name"], "n": description["n"]}
    if not binary.is_file():
        results.add(peers.line(**common, error=f"{binary} is not there: {BUILD}"))
        return
    with subprocess.Popen([str(binary), "--corpus", str(folder)], stdout=subprocess.PIPE,
                          text=True) as child:
        for text in child.stdout:
            text = text.strip()
            if text:
                wrong = shape_error(text)
                results.add(text if wrong is None else peers.line(**common, error=wrong))
    if child.returncode != 0:
        results.add(peers.line(**common, error=f"{binary.name} ended with status {child.returncode}"))


def shape_error(text):
    """What is wrong with a line of results, or None."""
    try:
        result = json.loads(text)
    except ValueError:
        return f"not a line of JSON: {text[:200]}"
    if not isinstance(result, dict):
        return f"not a result: {text[:200]}"
    missing = [key for key in peers.KEYS if key not in result]
    more = sorted(result.keys() - set(peers.KEYS) - {"error", "details"})
    if missing or more:
        return f"a result with keys missing ({', '.join(missing)}) or unknown ({', '.join(more)})"
    return None


def read_lines(file):
    """The results of another run."""
    try:
        return [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {error}") from error


def machine():
    """What the numbers were measured on, in words."""
    model = "unknown processor"
    try:
        for text in Path("/proc/cpuinfo").read_text().splitlines():
            if text.startswith("model name"):
                model = text.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{model}, {cores} cores, load {load}"


def main(argv=None):
    arguments = arguments_of(argv)
    try:
        names = peers.chosen(arguments.peers)
        beside = [result for file in arguments.beside for result in read_lines(file)]
        began = time.perf_counter()
        folder = prepare(arguments)
    except (RunError, corpus.CorpusError) as error:
        say(f"bench-index: error: {error}")
        return 2
    out = arguments.out or arguments.cache / "results" / folder.name
    out.mkdir(parents=True, exist_ok=True)
    before = machine()
    results = Results(out / "results.jsonl")
    if str(arguments.binary) != "none":
        run_own(arguments.binary, folder, results)
    peers.run(folder, names, arguments.questions.split(","), results.add, arguments.peer_limit_s)
    results.close()
    about = {
        "corpus": json.loads((folder / "corpus.json").read_text()),
        "truth": json.loads((folder / "truth.json").read_text()),
        "machine": {"before": before, "after": machine()},
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "took": f"{(time.perf_counter() - began) / 60:.1f} min",
    }
    (out / "index.html").write_text(page.render(about, results.lines, beside), encoding="utf-8")
    say(f"results: {out / 'results.jsonl'}\npage: {out / 'index.html'}")
    for result in results.errors:
        say(in_short(result))
    return 2 if any(result["system"].startswith(OWN) for result in results.errors) else 0


if __name__ == "__main__":
    sys.exit(main())
