"""Tests of the identity benchmark's Python half, on tiny corpora.

python3 -B -m unittest discover -s benches/identity, with the environment's Python.
"""

import json
import os
import stat
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
except ImportError as missing:  # what `make test` has may be without
    raise unittest.SkipTest("numpy is not installed: make bench-identity brings it") from missing

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import run  # puts benches/index on the path
import corpus
import systems
from score import score

ISSUE_KEYS = ("system corpus n order pairwise_p pairwise_r pairwise_f bcubed_f nmi identities "
              "identities_5plus true_identities_5plus fragments_per_person faces_per_s wall_s "
              "peak_mb").split()
# Stands in for identity_bench: a line a threshold, best at 0.5.
OURS = f"""#!{sys.executable}
import json, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
for threshold in given["--thresholds"].split(","):
    line = dict.fromkeys({list(systems.KEYS)!r}, 1)
    line["bcubed_f"] = 1 - abs(float(threshold) - 0.475)
    print(json.dumps(line))
"""


class Scores(unittest.TestCase):
    def test_a_table_worked_out_by_hand(self):
        s = score([1] * 6 + [2] * 4, [1, 1, 1, 1, 1, 2, 1, 3, 3, 3])
        self.assertEqual((s["pairwise_p"], s["pairwise_r"]), (round(26 / 36, 5), round(26 / 42, 5)))
        p, r = 25 / 30, 41 / 60
        self.assertEqual(s["bcubed_f"], round(2 * p * r / (p + r), 5))
        self.assertEqual((s["identities"], s["identities_5plus"]), (3, 1))
        self.assertEqual((s["true_identities_5plus"], s["fragments_per_person"]), (1, 2))

    def test_extremes(self):
        self.assertEqual(score([4, 4, 9], [0, 0, 7])["bcubed_f"], 1)
        self.assertEqual(score([1, 1], [1, 2])["pairwise_f"], 0)
        self.assertEqual(score([1], [1])["nmi"], 1)

    def test_scikit_learn_says_the_same(self):
        try:
            from sklearn.metrics import normalized_mutual_info_score, pair_confusion_matrix
        except ImportError:
            self.skipTest("scikit-learn is not installed: make bench-identity brings it")
        rng = np.random.default_rng(0)
        people, found = rng.integers(0, 30, 2_000), rng.integers(0, 40, 2_000)
        found[:1_000] = people[:1_000]
        s = score(people, found)
        (_, wrong), (missed, right) = pair_confusion_matrix(people, found)
        self.assertAlmostEqual(s["pairwise_p"], right / (right + wrong), 5)
        self.assertAlmostEqual(s["pairwise_r"], right / (right + missed), 5)
        self.assertAlmostEqual(s["nmi"], normalized_mutual_info_score(people, found), 5)


class Folder(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.folder = Path(self._folder.name)

    def corpus(self, n=600, seed=1, name="tv"):
        folder = self.folder / f"{name}-{n}-{seed}"
        corpus.make(folder, name, n, seed)
        return folder


def plainly_greedy(x, masses, threshold):
    sums, labels = [], []
    for row, mass in zip(x, masses):
        cosines = [s @ row / np.linalg.norm(s) for s in sums]
        best = int(np.argmax(cosines)) if cosines else -1
        if best < 0 or cosines[best] < threshold:
            best = len(sums)
            sums.append(np.zeros_like(mass))
        sums[best] = sums[best] + mass
        labels.append(best)
    return labels


class Peers(Folder):
    def test_greedy_in_blocks_is_greedy_row_by_row(self):
        data = systems.Data(self.corpus(1_500))
        for threshold in (0.3, 0.45, 0.6):
            self.assertEqual(systems.greedy(data.vectors, data.vectors, threshold).tolist(),
                             plainly_greedy(data.vectors, data.vectors, threshold))

    def test_tracks_stay_together_and_count_as_often_as_they_have_faces(self):
        data = systems.Data(self.corpus())
        found = systems.FlatTracks().run(data, 0.45)
        for track in np.unique(data.tracks):
            self.assertEqual(len(np.unique(found[data.tracks == track])), 1)
        last = [np.flatnonzero(data.tracks == t) for t in np.unique(data.tracks)]
        last.sort(key=lambda rows: rows[-1])
        sums = np.array([data.vectors[rows].sum(0) for rows in last])
        means = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        expected = plainly_greedy(means, sums, 0.45)
        self.assertEqual([found[rows[0]] for rows in last], expected)

    def test_every_peer_gives_lines_with_the_keys_of_the_issue(self):
        data = systems.Data(self.corpus(400))
        for name, system in systems.SYSTEMS.items():
            with self.subTest(name):
                thresholds = getattr(system, "grid", (0.4, 0.5))[:2]
                try:
                    results = list(systems.run(name, data, thresholds))
                except ImportError as error:
                    self.skipTest(f"{error}: make bench-identity brings it")
                self.assertEqual(len(results), 2)
                for result in results:
                    self.assertEqual(list(result), ISSUE_KEYS)
                    self.assertEqual((result["system"], result["n"]), (name, 400))
                    self.assertGreater(result["bcubed_f"], 0.1)

    def test_a_shuffled_order_keeps_tracks_together(self):
        folder = self.corpus()
        order = np.load(run.shuffle(folder)).astype(np.int64)
        self.assertEqual(sorted(order.tolist()), list(range(600)))
        tracks = np.load(folder / "tracks.npy")[order]
        self.assertEqual(int((np.diff(tracks.astype(np.int64)) != 0).sum()) + 1,
                         len(np.unique(tracks)))
        self.assertNotEqual(order.tolist(), list(range(600)))
        data = systems.Data(folder, folder / "shuffled.npy")
        self.assertEqual(data.order_name, "shuffled")
        found = systems.Flat().run(data, 0.45)
        self.assertEqual(found[order[0]], 0, "the first to come is the first label")


class Command(Folder):
    def setUp(self):
        super().setUp()
        self.binary = self.folder / "ours"
        self.binary.write_text(OURS)
        self.binary.chmod(self.binary.stat().st_mode | stat.S_IXUSR)

    def start(self, *more, binary=None):
        arguments = ["--cache", str(self.folder), "--out", str(self.folder / "out"),
                     "--binary", str(binary or self.binary), *map(str, more)]
        code = run.main(arguments)
        text = (self.folder / "out" / "results.jsonl").read_text()
        return code, [json.loads(line) for line in text.splitlines()]

    def test_thresholds_come_from_the_other_seed_and_ours_has_its_own_too(self):
        names = "rollcall,rollcall-tuned,hri,flat"
        code, lines = self.start("--n", 300, "--systems", names)
        self.assertEqual((code, [line["system"] for line in lines]), (0, names.split(",")))
        for line in lines:
            self.assertEqual(list(line), ISSUE_KEYS)
        self.assertAlmostEqual(lines[0]["bcubed_f"], 1 - 0.075)
        self.assertAlmostEqual(lines[1]["bcubed_f"], 1)
        self.assertTrue((self.folder / "tv-300-seed2" / "corpus.json").exists())
        tried = json.loads((self.folder / "out" / "thresholds.json").read_text())
        self.assertEqual(sorted(tried), ["flat", "hri", "rollcall"])

    def test_what_fails_is_a_line_and_our_own_failure_a_status(self):
        code, lines = self.start("--n", 300, "--systems", "rollcall,flat",
                                 binary=self.folder / "nowhere")
        self.assertEqual(code, 2)
        self.assertIn("cargo build", lines[0]["error"])
        self.assertNotIn("error", lines[1])
        code, lines = self.start("--n", 300, "--systems", "flat", "--limit-s", "0.01")
        self.assertEqual(code, 0)
        self.assertIn("stopped", lines[0]["error"])

    def test_own_data_need_no_queries(self):
        rng = np.random.default_rng(0)
        people = np.repeat(np.arange(10), 12)
        faces = rng.standard_normal((10, 64))[people] + 0.3 * rng.standard_normal((120, 64))
        np.save(self.folder / "faces.npy", faces)
        np.save(self.folder / "people.npy", people)
        np.save(self.folder / "tracks.npy", np.arange(120) // 3)
        np.save(self.folder / "frames.npy", np.arange(120) % 60)
        given = [item for name, file in (("--vectors", "faces"), ("--identities", "people"),
                                         ("--tracks", "tracks"), ("--frames", "frames"))
                 for item in (name, self.folder / f"{file}.npy")]
        code, lines = self.start(*given, "--systems", "flat-tracks", "--order", "shuffled")
        self.assertEqual((code, lines[0]["corpus"], lines[0]["order"]), (0, "own", "shuffled"))
        self.assertEqual(lines[0]["bcubed_f"], 1)

    def test_large_corpora_are_not_for_offline_peers(self):
        self.addCleanup(setattr, run, "OFFLINE_MAX", run.OFFLINE_MAX)
        run.OFFLINE_MAX = 100
        _, lines = self.start("--n", 300, "--systems", "hdbscan,flat")
        self.assertEqual([line["system"] for line in lines], ["flat"])

    def test_nonsense_is_refused(self):
        self.assertEqual(self.start("--n", 5)[0], 2)
        with self.assertRaises(SystemExit), open(os.devnull, "w") as quiet:
            sys.stderr, before = quiet, sys.stderr
            try:
                run.main(["--systems", "nobody"])
            finally:
                sys.stderr = before


if __name__ == "__main__":
    unittest.main()
