"""python3 -B -m unittest discover -s benches/quality, in the Python that setup.sh makes."""

import unittest
from collections import defaultdict

import numpy as np

import compose_tracks
import tracks


class Still:
    """Two faces in ten frames, the second hidden from the fifth on."""

    frames, cuts = 10, []
    truth = {f: [(1, 0, 0, 40, 40, 1.0), (2, 100, 0, 40, 40, 1.0 if f < 5 else 0.1)]
             for f in range(10)}
    looks = tracks.Film.looks


def check(boxes):
    """IDF1, switches, precision and recall of what a tracker says."""
    found = defaultdict(list)
    for frame, *box in boxes:
        found[frame].append(tuple(box))
    got = tracks.measures([tracks.judged(Still(), 1, found)])
    return got["idf1"], got["id_switches"], got["precision"], got["recall"]


class Judge(unittest.TestCase):
    def test_all_right_is_all_right_whether_the_hidden_face_is_found_or_not(self):
        first = [(f, 1, 0, 0, 40, 40) for f in range(10)]
        second = [(f, 2, 100, 0, 40, 40) for f in range(10)]
        self.assertEqual(check(first + second[:5]), (1, 0, 1, 1))
        self.assertEqual(check(first + second), (1, 0, 1, 1))

    def test_an_exchange_is_two_switches(self):
        boxes = [(f, 1 + (f > 2), 0, 0, 40, 40) for f in range(5)]
        boxes += [(f, 2 - (f > 2), 100, 0, 40, 40) for f in range(5)]
        boxes += [(f, 2, 0, 0, 40, 40) for f in range(5, 10)]
        self.assertEqual(check(boxes)[1:], (2, 1, 1))

    def test_a_box_where_nobody_is_counts(self):
        boxes = [(f, 1, 0, 0, 40, 40) for f in range(10)] + [(0, 3, 300, 0, 40, 40)]
        self.assertEqual(check(boxes)[2:], (0.9091, 0.6667))


class Compose(unittest.TestCase):
    def test_a_face_half_covered_is_half_seen(self):
        own = np.zeros((100, 100), bool)
        own[:, :50] = True
        self.assertAlmostEqual(compose_tracks.seen(own, (30, 30, 40, 40)), 0.5, 2)
        self.assertEqual(compose_tracks.seen(own, (60, 30, 30, 40)), 0)

    def test_made_films_repeat_and_keep_to_their_truth(self):
        one, two = compose_tracks.Made(1, 0), compose_tracks.Made(1, 0)
        self.assertEqual((one.faces, one.truth), (two.faces, two.truth))
        good = [face for face in one.faces if face[-1] is not None]
        self.assertEqual(len(good), len(one.vectors))


if __name__ == "__main__":
    unittest.main()
