"""Tests of the index benchmark's Python half, on tiny corpora.

python3 -B -m unittest discover -s benches/index, with a Python that has numpy.
"""

import importlib.util
import json
import os
import sys
import tempfile
import unittest
from html.parser import HTMLParser
from pathlib import Path

try:
    import numpy as np
except ImportError as missing:  # what `make test` has may be without
    raise unittest.SkipTest("numpy is not installed: make bench-index brings it") from missing

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import corpus
import growth
import metrics
import page
import peers
import run
import systems
import systems_form
import truth


class Folder(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.folder = Path(self._folder.name)

    def load(self, name, folder=None):
        return np.load((folder or self.folder) / f"{name}.npy")


class Corpora(Folder):
    def check_form(self, n):
        for name, kind in corpus.ARRAYS.items():
            self.assertEqual(self.load(name).dtype, kind, name)
        self.assertEqual(self.load("vectors").shape, (n, corpus.DIMENSION))
        lengths = np.linalg.norm(self.load("vectors").astype(np.float32), axis=1)
        self.assertLess(np.abs(lengths - 1).max(), 1e-3)
        identities, tracks = self.load("identities"), self.load("tracks")
        self.assertEqual(set(np.unique(identities)), set(range(1, int(identities.max()) + 1)))
        times, sources = self.load("times"), self.load("sources")
        self.assertTrue((np.diff(times) >= 0).all(), "faces are in the order of time")
        _, first = np.unique(tracks, return_index=True)
        self.assertTrue((np.diff(first) > 0).all(), "tracks are numbered as they begin")
        self.assertEqual(int(tracks[0]), 1)
        self.assertEqual(int(sources.min()), 1)
        owner = dict(zip(tracks.tolist(), zip(identities.tolist(), sources.tolist())))
        self.assertTrue(all(owner[t] == (i, s) for t, i, s in zip(
            tracks.tolist(), identities.tolist(), sources.tolist())), "a track is one person's")
        seen = np.stack([identities.astype(np.int64), sources, times], axis=1)
        self.assertEqual(len(np.unique(seen, axis=0)), n, "nobody is twice in a picture")

    def check_queries(self):
        meant, queries = self.load("query_identities"), self.load("queries")
        self.assertEqual(queries.shape, (corpus.QUERIES, corpus.DIMENSION))
        self.assertEqual((meant == -1).sum(), round(0.3 * corpus.QUERIES))
        self.assertTrue(((meant == -1) | (meant >= 1)).all())
        self.assertLess(np.abs(np.linalg.norm(queries, axis=1) - 1).max(), 1e-5)

    def test_tv_is_like_a_broadcaster(self):
        s = corpus.make(self.folder, "tv", 9_000)["statistics"]
        self.check_form(9_000)
        self.check_queries()
        self.assertEqual(s["people"], 100)
        self.assertGreaterEqual(s["faces_per_person_min"], 10)
        self.assertAlmostEqual(s["different_mean"], 0.0, delta=0.02)
        self.assertAlmostEqual(s["different_sd"], 0.10, delta=0.01)
        self.assertAlmostEqual(s["same_mean"], 0.53, delta=0.03)
        self.assertAlmostEqual(s["same_sd"], 0.18, delta=0.02)
        self.assertGreater(s["same_track_mean"], 0.8)

    def test_crowd_is_like_passers_by(self):
        s = corpus.make(self.folder, "crowd", 9_000)["statistics"]
        self.check_form(9_000)
        self.check_queries()
        self.assertAlmostEqual(s["people"], 900, delta=200)
        self.assertLessEqual(s["faces_per_person_median"], 4)
        self.assertAlmostEqual(s["different_mean"], 0.0, delta=0.01)
        self.assertAlmostEqual(s["different_sd"], 0.05, delta=0.005)
        self.assertAlmostEqual(s["same_mean"], 0.60, delta=0.02)
        self.assertAlmostEqual(s["same_sd"], 0.13, delta=0.02)

    def test_every_size_comes_out_whole(self):
        for name in corpus.KINDS:
            for n in (100, 101, 2_345):
                folder = self.folder / f"{name}-{n}"
                self.assertEqual(corpus.make(folder, name, n)["statistics"]["faces"], n)

    def test_tracks_over_the_border_of_chunks_stay_near_duplicates(self):
        self.addCleanup(setattr, corpus, "CHUNK_ROWS", corpus.CHUNK_ROWS)
        corpus.CHUNK_ROWS = 64
        s = corpus.make(self.folder, "tv", 2_000, seed=7)["statistics"]
        self.check_form(2_000)
        self.assertGreater(s["same_track_mean"], 0.8)
        self.assertAlmostEqual(s["same_mean"], 0.53, delta=0.05)

    def test_a_corpus_is_made_once_and_another_one_anew(self):
        corpus.make(self.folder, "tv", 500)
        before = (self.folder / "vectors.npy").stat().st_mtime_ns
        corpus.make(self.folder, "tv", 500)
        self.assertEqual((self.folder / "vectors.npy").stat().st_mtime_ns, before)
        self.assertEqual(corpus.make(self.folder, "tv", 500, seed=2)["seed"], 2)
        self.assertNotEqual((self.folder / "vectors.npy").stat().st_mtime_ns, before)


class OwnData(Folder):
    def give(self, identities=(7, 7, 90, 90), wanted=(90, 7, 8, -1), **changed):
        rng = np.random.default_rng(0)
        arrays = {"vectors": rng.standard_normal((4, 16)), "identities": np.array(identities),
                  "queries": rng.standard_normal((4, 16)), "query_identities": np.array(wanted),
                  **changed}
        for name, array in arrays.items():
            np.save(self.folder / f"my-{name}.npy", array)
        return [self.folder / f"my-{name}.npy" for name in arrays]

    def test_identities_are_numbered_and_strangers_known_as_such(self):
        description = corpus.own(self.folder / "own", *self.give())
        self.assertEqual((description["name"], description["n"]), ("own", 4))
        folder = self.folder / "own"
        self.assertEqual(self.load("identities", folder).tolist(), [1, 1, 2, 2])
        self.assertEqual(self.load("query_identities", folder).tolist(), [2, 1, -1, -1])
        self.assertEqual(self.load("tracks", folder).tolist(), [1, 2, 3, 4])
        self.assertTrue("own" in corpus.lines(description)[0])

    def test_what_cannot_be_meant_is_refused(self):
        for changed in ({"vectors": np.zeros((4, 16))}, {"vectors": np.full((4, 16), np.nan)},
                        {"queries": np.ones((4, 15))}, {"identities": np.ones(3, int)}):
            with self.assertRaises(corpus.CorpusError):
                corpus.own(self.folder / "bad", *self.give(**changed))
            self.assertFalse((self.folder / "bad" / "corpus.json").exists())


class Truth(Folder):
    def test_blocks_find_what_brute_force_finds_with_its_ties(self):
        rng = np.random.default_rng(0)
        # Small whole numbers: many products are equal.
        rows = rng.integers(-2, 3, (3_000, 8)).astype(np.float16)
        queries = rng.integers(-2, 3, (40, 8)).astype(np.float32)
        products = queries @ rows.astype(np.float32).T
        order = np.argsort(-products, axis=1, kind="stable")[:, :20]
        for block in (7, 256, 10_000):
            found, scores = truth.best(rows, queries, 20, block_rows=block)
            self.assertTrue((found == order).all(), block)
            self.assertTrue((scores == np.take_along_axis(products, order, 1)).all(), block)

    def test_it_is_written_and_kept(self):
        corpus.make(self.folder, "tv", 500)
        made = truth.make(self.folder)
        self.assertEqual(self.load("truth_faces").shape, (corpus.QUERIES, 100))
        self.assertEqual(self.load("truth_faces").dtype, np.int64)
        self.assertEqual(self.load("truth_cosines").dtype, np.float32)
        self.assertTrue(0.9 < made["rank1"] <= 1)
        self.assertEqual(truth.make(self.folder), made)
        corpus.make(self.folder, "tv", 500, seed=2)
        self.assertEqual(truth.make(self.folder)["seed"], 2)


class Metrics(unittest.TestCase):
    def test_recall(self):
        wanted = np.array([[1, 2, 3], [4, 5, 6]])
        found = np.array([[1, 9, 2], [6, 5, -1]])
        self.assertEqual(metrics.recall(found, wanted, 1), 0.5)
        self.assertAlmostEqual(metrics.recall(found, wanted, 3), 4 / 6)

    def test_rank1_counts_known_queries_only(self):
        self.assertEqual(metrics.rank1(np.array([1, 2, 3, 4]), np.array([1, 2, 9, -1])), 2 / 3)
        self.assertIsNone(metrics.rank1(np.array([1]), np.array([-1])))

    def test_fnir_at_the_threshold_that_accepts_one_stranger_in_a_hundred(self):
        # 200 strangers score 0.00, 0.01 ... 1.99: two are let in above 1.97.
        strangers = np.arange(200) / 100
        known = np.array([3.0, 3.0, 1.98, 1.97, 0.1])
        named = np.concatenate([np.zeros(200, int), [1, 2, 3, 4, 5]])
        meant = np.concatenate([np.full(200, -1), [1, 9, 3, 4, 5]])
        # Found: the first and the third; named wrongly: the second; too low: the others.
        self.assertAlmostEqual(
            metrics.fnir_at_fpir(named, np.concatenate([strangers, known]), meant), 3 / 5)

    def test_too_few_strangers_for_a_threshold(self):
        meant = np.array([1] * 10 + [-1] * 99)
        self.assertIsNone(metrics.fnir_at_fpir(meant, np.ones(109), meant))


class Peers(Folder):
    def test_means_are_those_of_each_identity(self):
        corpus.make(self.folder, "crowd", 700)
        means = np.load(peers.identity_means(self.folder))
        rows, of = self.load("vectors").astype(np.float32), self.load("identities")
        for identity in (1, 5, int(of.max())):
            mean = rows[of == identity].mean(0)
            self.assertTrue(np.allclose(means[identity - 1], mean / np.linalg.norm(mean), atol=1e-5))

    def test_data_is_read_as_written(self):
        corpus.make(self.folder, "tv", 500)
        data = peers.Data(self.folder / "vectors.npy", "faces")
        rows = self.load("vectors").astype(np.float32)
        self.assertTrue((data.all() == rows).all())
        self.assertTrue((np.concatenate([c for _, c in data.chunks(rows=77)]) == rows).all())
        self.assertEqual(data.sample(50).shape, (50, corpus.DIMENSION))

    def test_an_exact_search_is_judged_exact(self):
        corpus.make(self.folder, "tv", 1_000)
        wanted = truth.make(self.folder)
        judge = peers.Judge(self.folder, "faces", self.folder / "vectors.npy")
        best = self.load("truth_faces")
        self.assertEqual(judge.accuracy(best[:, :10], best), {
            "rank1": round(wanted["rank1"], 5), "recall_at_1": 1.0, "recall_at_10": 1.0,
            "recall_at_100": 1.0, "fnir_at_fpir_1pct": round(wanted["fnir_at_fpir_1pct"], 5)})
        nothing = np.full((corpus.QUERIES, 10), -1)
        self.assertEqual(judge.accuracy(nothing, nothing)["rank1"], 0.0)

    @unittest.skipUnless(importlib.util.find_spec("faiss"), "faiss is not installed")
    def test_a_peer_is_asked_both_questions_in_a_process_of_its_own(self):
        folder = self.folder / "crowd"
        corpus.make(folder, "crowd", 1_000)
        wanted = truth.make(folder)
        got = []
        peers.run(folder, ["exact", "faiss-flat-pq"], ["faces", "who"], got.append)
        results = [json.loads(text) for text in got]
        self.assertTrue(all(list(result) == list(peers.KEYS) for result in results), got)
        faces, who = results[:2]
        self.assertEqual((faces["question"], who["question"]), ("faces", "who"))
        self.assertEqual((faces["recall_at_10"], faces["recall_at_100"]), (1.0, 1.0))
        self.assertEqual(faces["rank1"], round(wanted["rank1"], 5))
        self.assertAlmostEqual(faces["bytes_per_face"], 2_048, delta=1)
        self.assertIsNone(who["recall_at_10"])
        self.assertGreater(who["rank1"], 0.9)
        self.assertTrue(all(0 < result["p50_us"] <= result["p99_us"] for result in results))
        refined = [r for r in results if r["system"] == "faiss-flat-pq" and r["question"] == "faces"]
        self.assertGreater(len(refined), 1)
        self.assertGreater(refined[-1]["recall_at_10"], refined[0]["recall_at_10"])
        self.assertEqual(list(self.folder.glob("scratch-*")), [])

    def test_names_and_families(self):
        self.assertEqual(peers.chosen("none"), [])
        self.assertEqual(peers.chosen("glass,hnswlib"), ["glass", "hnswlib"])
        self.assertTrue(all(name.startswith("faiss-") for name in peers.chosen("faiss")))
        self.assertEqual(len(peers.chosen("all")), len(systems.SYSTEMS))
        with self.assertRaises(SystemExit):
            peers.chosen("nobody")

    def test_a_peer_that_fails_is_a_line(self):
        corpus.make(self.folder / "tv", "tv", 200)
        truth.make(self.folder / "tv")

        class Broken(systems_form.System):
            environment = {"PYTHONPATH": "", "ROLLCALL_ASSETS": ""}

        self.addCleanup(systems.SYSTEMS.pop, "broken")
        systems.SYSTEMS["broken"] = Broken  # the child does not know it
        got = []
        peers.run(self.folder / "tv", ["broken"], ["faces", "who"], got.append)
        result = json.loads(got[0])
        self.assertEqual(len(got), 1)
        self.assertEqual(list(result), [*peers.KEYS, "error"])
        self.assertIn("broken", result["error"])


FAKE = """#!/bin/sh
test "$1" = --corpus && test -e "$2/truth_faces.npy" || exit 3
echo '{good}'
echo 'no JSON'
"""


class Run(Folder):
    def run_with(self, binary):
        out = self.folder / "out"
        with open(os.devnull, "w") as silent:
            stderr, sys.stderr = sys.stderr, silent
            try:
                code = run.main(["--n", "300", "--peers", "none", "--out", str(out), "--cache",
                                 str(self.folder / "cache"), "--binary", str(binary)])
            finally:
                sys.stderr = stderr
        lines = [json.loads(text) for text in (out / "results.jsonl").read_text().splitlines()]
        return code, lines, (out / "index.html").read_text()

    def test_lines_of_our_own_are_copied_and_bad_ones_told_of(self):
        good = peers.line(system="rollcall", corpus="tv", n=300, question="who", setting="default",
                          rank1=0.99, qps=20_000.0, p50_us=50.0)
        binary = self.folder / "index_bench"
        binary.write_text(FAKE.replace("{good}", good))
        binary.chmod(0o755)
        code, lines, html = self.run_with(binary)
        self.assertEqual(code, 2)
        self.assertEqual(lines[0], json.loads(good))
        self.assertIn("not a line of JSON", lines[1]["error"])
        self.assertIn("rollcall, default: 0.9900, 20,000 queries a second", html)

    def test_without_our_binary_the_command_is_named(self):
        code, lines, _ = self.run_with(self.folder / "nowhere")
        self.assertEqual(code, 2)
        self.assertIn("cargo build --release -p rollcall-benches --bin index_bench",
                      lines[0]["error"])

    def test_own_data_are_given_whole(self):
        with open(os.devnull, "w") as silent:
            stderr, sys.stderr = sys.stderr, silent
            try:
                with self.assertRaises(SystemExit):
                    run.arguments_of(["--vectors", "x.npy"])
            finally:
                sys.stderr = stderr


class Page(unittest.TestCase):
    def test_names_are_text_and_nothing_is_requested(self):
        evil = "<script>alert('x')</script>\" onload=\"y"
        statistics = {"faces": 1, "people": 1, "tracks": 1, "sources": 1, "queries": 1,
                      "queries_unknown": 0, "faces_per_person_min": 1, "faces_per_person_max": 1,
                      "faces_per_person_median": 1.0, "faces_per_person_mean": 1.0}
        statistics |= {f"{name}_{what}": None for name in ("different", "same", "same_track")
                       for what in ("mean", "sd")}
        about = {"corpus": {"name": evil, "n": 1, "statistics": statistics},
                 "truth": {"rank1": 1.0, "fnir_at_fpir_1pct": None},
                 "machine": {"before": evil, "after": evil}, "date": evil, "took": evil}
        rows = [json.loads(peers.line(system=evil, question=question, setting=evil, rank1=rank1,
                                      recall_at_10=recall, qps=qps)) | {"details": {evil: evil}}
                for question, rank1, recall, qps in (("who", 1.0, None, 1e5), ("who", 0.2, None, 3.0),
                                                     ("faces", 0.95, 0.9, 100.0))]
        rows.append(json.loads(peers.line(system=evil, question="faces", error=evil)))
        tags, links = set(), []

        class Reader(HTMLParser):
            def handle_starttag(self, tag, attrs):
                tags.add(tag)
                links.extend(value for key, value in attrs if key in ("src", "href"))
                assert not any(key.startswith("on") for key, _ in attrs), attrs

        grown = [json.loads(peers.line(system="rollcall", corpus=evil, n=n, question="who",
                                       setting="normal (default)", p50_us=n / 1e4))
                 for n in (100_000, 1_000_000)]
        html = page.render(about, rows, grown)
        Reader().feed(html)
        self.assertNotIn("script", tags)
        self.assertEqual(links, [])
        self.assertIn("polyline", tags)
        self.assertIn("1,000,000 faces: 100.0", html)


class Growth(unittest.TestCase):
    def lines(self, *sizes):
        made = [json.loads(peers.line(system="rollcall", corpus="tv", n=n, question="who",
                                      setting="normal (default)", p50_us=50.0)) for n in sizes]
        return [line | {"details": {"kb_touched": 100}} for line in made]

    def test_a_curve_needs_two_sizes(self):
        self.assertEqual(growth.sections(self.lines(1_000), page.COLOURS), [])
        html = "".join(growth.sections(self.lines(1_000, 10_000), page.COLOURS))
        self.assertEqual((html.count("<polyline"), html.count("<circle")), (2, 4))

    def test_peers_and_other_settings_have_no_curve(self):
        lines = self.lines(1_000, 10_000)
        lines[0]["setting"] = "8 cells"
        self.assertEqual(growth.sections(lines, page.COLOURS), [])
        lines = self.lines(1_000, 10_000)
        lines[0]["system"] = "faiss"
        self.assertEqual(growth.sections(lines, page.COLOURS), [])

    def test_a_file_that_is_not_there_is_told_of(self):
        with self.assertRaises(run.RunError):
            run.read_lines(Path("/nowhere/results.jsonl"))


if __name__ == "__main__":
    unittest.main()
