"""python3 -B -m unittest discover -s benches/batch, in the Python of `benches/venv.sh ingest`."""

import sys
import unittest

sys.dont_write_bytecode = True

import numpy as np

import compare
import facerec

SIZE = (640, 360)
THERE = [100.0]


def follow(frames):
    """Start and whether each box was detected, of a film with faces at these x in each frame."""
    sort, over = facerec.Sort(0.5, 3, 5), []
    for frame, places in enumerate(frames):
        boxes = np.array([[x, 40, x + 50, 100] for x in places], np.float32).reshape(-1, 4)
        over += sort.update(frame, boxes, SIZE)[0]
    tracks = over + sort.close()
    return [(t.start, t.detected[:len(t.detected) - t.detected[::-1].index(True)]) for t in tracks]


class Tracker(unittest.TestCase):
    def test_gaps_are_filled_and_tails_are_not(self):
        found = follow([THERE, THERE, THERE, [], [], THERE, [], []])
        self.assertEqual(found, [(0, [True, True, True, False, False, True])])

    def test_who_is_missed_too_early_or_too_long_is_given_up(self):
        self.assertEqual(follow([THERE, THERE, [], THERE, THERE, THERE]), [(3, [True] * 3)])
        found = follow([THERE] * 4 + [[]] * 6 + [THERE] * 3)
        self.assertEqual(found, [(0, [True] * 4), (10, [True] * 3)])

    def test_two_faces_stay_apart_and_a_jump_begins_a_track(self):
        found = follow([[100.0 + 2 * i, 300.0] for i in range(6)])
        self.assertEqual(found, [(0, [True] * 6)] * 2)
        found = follow([[100.0]] * 3 + [[200.0]] * 3)
        self.assertEqual(found, [(0, [True] * 3), (3, [True] * 3)])

    def test_steady_motion_is_foreseen(self):
        track = facerec.Track(0, [10, 50, 70, 130])
        for i in range(1, 20):
            track.predict()
            track.correct(np.array([10 + 3 * i, 50, 70 + 3 * i, 130]))
        track.predict()
        np.testing.assert_allclose(track.box(), [70, 50, 130, 130], atol=1.0)


class Rule(unittest.TestCase):
    def check(self, change, cut, earlier=(2, 3, 100)):
        self.assertEqual(facerec.is_cut(earlier, change), cut, change)

    def test_thresholds_are_those_of_facerec(self):
        self.check((20, 60, 124), True)
        self.check((20, 60, 122), False)
        self.check((13.9, 60, 150), False)
        self.check((20, 39.9, 150), False)
        self.check((171, 50, 100), True)
        self.check((169, 50, 100), False)
        self.check((36, 120, 151), True)
        self.check((36, 120, 149), False)
        self.check((36, 120, 151), False, (2, 71, 101))

    def test_the_third_frame_is_the_first_that_can_begin_a_shot(self):
        dark = np.zeros((80, 160, 3), np.uint8) + np.arange(160, dtype=np.uint8)[:, None] % 40
        other = np.full((80, 160, 3), 60, np.uint8)
        other[:40] = 140
        shots = facerec.Shots()
        self.assertEqual([shots.push(dark), shots.push(other)], [False, False])
        shots = facerec.Shots()
        self.assertEqual([shots.push(p) for p in (dark, dark, other)], [False, False, True])


class Alignment(unittest.TestCase):
    def test_landmarks_on_the_template_leave_the_picture_as_it_is(self):
        picture = np.random.default_rng(7).integers(0, 256, (112, 112, 3), np.uint8)
        crop = facerec.align(picture, facerec.TEMPLATE + 0.5)
        self.assertLessEqual(np.abs(crop.astype(int) - picture)[1:-1, 1:-1].max(), 2)


class Comparison(unittest.TestCase):
    def film(self, starts, shift=0, cuts=(50,)):
        """Trajectories of ten frames, each with a feature in its first."""
        box = [100 + shift, 40, 150 + shift, 100]
        trajectories = [{"start": s, "len": 10, "bbs": [box] * 10} for s in starts]
        features = [{"frame": s, "box": box, "embedding": [1.0, shift]} for s in starts]
        return {"trajectories": trajectories, "features": features, "cuts": list(cuts)}

    def test_all_is_kept_where_all_is_the_same(self):
        told = compare.compare(self.film([0, 50]), self.film([0, 50], cuts=[51]))
        self.assertTrue(all(compare.kept(told).values()), told)
        self.assertEqual((told["boxes"], told["iou_mean"]), ([20, 20], 1.0))

    def test_what_differs_is_told_both_ways(self):
        told = compare.compare(self.film([0, 50, 80], cuts=[50, 80]), self.film([3, 50]))
        self.assertEqual(told["boxes_matched"], [0.5667, 0.85])
        self.assertEqual(told["trajectories_matched"], [0.6667, 1.0])
        self.assertEqual((told["start_off_max"], told["ends_within_2_frames"]), (3, 0.5))
        self.assertEqual(told["cuts_matched"], [0.5, 1.0])
        self.assertEqual(told["features_matched"], [0.3333, 0.5])
        self.assertFalse(compare.kept(told)["boxes_matched"])

    def test_boxes_elsewhere_are_others_and_nothing_found_is_no_agreement(self):
        told = compare.compare(self.film([0]), self.film([0], shift=40))
        self.assertEqual(told["boxes_matched"], [0.0, 0.0])
        self.assertIsNone(told["cosine_min"])
        self.assertFalse(compare.kept(told)["cosine_min"])

    def test_embeddings_are_compared_by_their_cosine(self):
        told = compare.compare(self.film([0]), self.film([0], shift=1))
        self.assertEqual(told["cosine_min"], 0.7071)


if __name__ == "__main__":
    unittest.main()
