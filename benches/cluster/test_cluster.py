"""Tests of the cluster benchmark's Python half, on tiny corpora.

python3 -B -m unittest discover -s benches/cluster, with the environment's Python.
"""

import json
import stat
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
except ImportError as missing:  # what `make test` has may be without
    raise unittest.SkipTest("numpy is not installed: make bench-cluster brings it") from missing

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import bench
import peers
import systems

# Stands in for rollcall-ingest: each track is a cluster, or each face where tracks are not told.
OURS = f"""#!{sys.executable}
import json, sys
import numpy as np
given = dict(zip(sys.argv[3::1], sys.argv[4::1]))
n = len(np.load(sys.argv[2]))
tracks = given.get("--tracks")
np.save(given["--out"], np.load(tracks).astype(np.int64) if tracks else np.arange(n))
print(json.dumps({{"read_s": 1.0, "wall_s": 2.0, "peak_mb": 3, "threads": 1}}))
"""


class Cluster(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.binary = self.folder / "ours"
        self.binary.write_text(OURS)
        self.binary.chmod(self.binary.stat().st_mode | stat.S_IXUSR)

    def start(self, *more, binary=None):
        code = bench.main(["--cache", str(self.folder), "--out", str(self.folder / "out"),
                           "--binary", str(binary or self.binary), "--n", "300", *more])
        text = (self.folder / "out" / "results.jsonl").read_text()
        return code, [json.loads(line) for line in text.splitlines()]

    def test_tracks_are_told_to_whom_it_says_so(self):
        code, lines = self.start("--systems", "rollcall,rollcall-tracks")
        self.assertEqual(code, 0)
        self.assertEqual([tuple(line) for line in lines], [bench.KEYS] * 2)
        self.assertEqual([line["tracks"] for line in lines], [False, True])
        self.assertEqual((lines[0]["identities"], lines[0]["wall_s"]), (300, 3))
        self.assertLess(lines[1]["identities"], 300)
        self.assertFalse((self.folder / "tv-300-seed2" / "labels.npy").exists())

    def test_thresholds_come_from_the_other_seed(self):
        try:
            import scipy  # noqa: F401
        except ImportError:
            self.skipTest("SciPy is not installed: make bench-cluster brings it")
        code, lines = self.start("--systems", "streamface,average-linkage")
        self.assertEqual((code, len(lines)), (0, 2))
        tried = json.loads((self.folder / "out" / "thresholds.json").read_text())
        best = max(f for _, f in tried["streamface"])
        self.assertIn([lines[0]["threshold"], best], tried["streamface"])
        self.assertGreater(lines[0]["bcubed_f"], 0.5)
        self.assertEqual(lines[0]["tracks"], False)

    def test_what_fails_is_a_line_and_our_own_failure_a_status(self):
        code, lines = self.start("--systems", "rollcall", binary=self.folder / "nowhere")
        self.assertEqual(code, 2)
        self.assertIn("cargo build", lines[0]["error"])
        code, lines = self.start("--systems", "streamface", "--limit-s", "0.01")
        self.assertEqual(code, 0)
        self.assertIn("stopped", lines[0]["error"])

    def test_streamface_puts_its_batches_together(self):
        try:
            import scipy  # noqa: F401
        except ImportError:
            self.skipTest("SciPy is not installed: make bench-cluster brings it")
        self.addCleanup(setattr, peers, "BATCH", peers.BATCH)
        peers.BATCH = 7
        rng = np.random.default_rng(0)
        people = np.arange(30) % 5
        x = rng.standard_normal((5, 32))[people] + 0.1 * rng.standard_normal((30, 32))
        data = type("Data", (), {"vectors": systems.np.asarray(
            x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)})
        found = peers.Streamface().run(data, 0.7)
        self.assertEqual(len(set(zip(people.tolist(), found.tolist()))), 5)
        self.assertEqual(len(set(found.tolist())), 5)


if __name__ == "__main__":
    unittest.main()
