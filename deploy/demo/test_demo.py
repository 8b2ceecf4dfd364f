"""Tests of the demo's own judgement and page: python3 -m unittest discover deploy/demo."""

import sys
import unittest
from html.parser import HTMLParser
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

import check
import page

TRUTH = {"people": [
    {"name": "Ada", "intervals": [[0, 4], [10, 16]]},
    {"name": "Grace", "intervals": [[4, 8], [10, 20]]},
]}


class Compare(unittest.TestCase):
    def test_right_answers_are_right(self):
        found = {1: [(0.1, 4.0), (10.0, 16.04)], 2: [(4.0, 8.2), (10.0, 20.0)]}
        report = check.compare(TRUTH, found)
        self.assertEqual(report.misses, [])
        self.assertEqual(report.names, {1: "Ada", 2: "Grace"})
        self.assertAlmostEqual(report.worst_error, 0.2)

    def test_one_identity_too_many_is_allowed_and_goes_to_the_right_person(self):
        found = {1: [(0, 4)], 2: [(4, 8), (10, 20)], 3: [(10, 16)]}
        report = check.compare(TRUTH, found)
        self.assertEqual(report.names, {1: "Ada", 2: "Grace", 3: "Ada"})
        self.assertEqual(report.misses, [])

    def test_two_people_in_one_identity_are_noticed(self):
        found = {1: [(0, 8), (10, 16)], 2: [(10, 20)]}
        misses = " ".join(check.compare(TRUTH, found).misses)
        self.assertIn("identity 1 (Ada) is also seen from 00:04.00 to 00:08.00, where Grace is",
                      misses)
        self.assertIn("Grace, 00:04.00 to 00:08.00: not seen", misses)

    def test_late_lost_and_missing(self):
        late = check.compare(TRUTH, {1: [(0.3, 4), (10, 16)], 2: [(4, 8), (10, 20)]}).misses
        self.assertEqual(len(late), 1)
        self.assertIn("begins +0.30 s", late[0])
        lost = check.compare(TRUTH, {1: [(0, 4), (10, 12), (13, 16)], 2: [(4, 8), (10, 20)]})
        self.assertIn("lost for 1.00 s", lost.misses[0])
        self.assertIn("Ada was not found", " ".join(check.compare(TRUTH, {}).misses))
        self.assertIsNone(check.compare(TRUTH, {}).worst_error)

    def test_somebody_who_is_not_there(self):
        found = {1: [(0, 4), (10, 16)], 2: [(4, 8), (10, 20)], 3: [(8.5, 9)]}
        misses = check.compare(TRUTH, found).misses
        self.assertEqual(misses, ["identity 3 is nobody of the truth (seen at 00:08.50)"])

    def test_arithmetic_of_intervals(self):
        self.assertEqual(check.union([(2, 3), (0, 1), (1.05, 2)], 0.1), [(0, 3)])
        self.assertEqual(check.minus([(0, 10)], [(2, 3), (5, 6)]), [(0, 2), (3, 5), (6, 10)])
        self.assertEqual(check.minus([(0, 1)], [(0, 2)]), [])
        self.assertEqual(check.clock(75.5), "01:15.50")


class Page(unittest.TestCase):
    def test_names_are_text_and_nothing_is_requested(self):
        evil = "<script>alert('x')</script>\" onload=\"y"
        person = {"name": evil, "found": [(0, 1)], "truth": [], "jpeg": b"\xff\xd8",
                  "note": evil, "rows": [[evil, "", ""]]}
        query = {"title": evil, "answer": evil, "note": evil, "intervals": [], "right": False,
                 "image": b"\xff\xd8"}
        run = {"clip": evil, "media": evil, "duration_s": 0.0, "misses": [evil],
               "people": [person], "left_out": 0, "queries": [query], "cuts": [1.0],
               "columns": ["from", "to", "length"], "numbers": [(evil, evil)],
               "about": [(evil, evil)]}
        links, tags = [], set()

        class Reader(HTMLParser):
            def handle_starttag(self, tag, attrs):
                tags.add(tag)
                links.extend(v for k, v in attrs if k in ("src", "href"))
                assert not any(k.startswith("on") for k, _ in attrs), attrs

        Reader().feed(page.render(run))
        self.assertNotIn("script", tags)
        self.assertTrue(links and all(link.startswith("data:image/jpeg") for link in links))


if __name__ == "__main__":
    unittest.main()
