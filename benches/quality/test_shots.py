"""python3 -B -m unittest discover -s benches/quality, in a Python with numpy."""

import unittest

import shots

TRUTH = {"cuts": [100, 300], "gradual": [[150, 170, "dissolve"]]}


def check(cuts, gradual):
    """(found, false, truth) of both tasks."""
    scores = {"cuts": shots.Score(), "gradual": shots.Score()}
    shots.judge(TRUTH, cuts, gradual, scores)
    return [(s.found, s.false, s.truth) for s in scores.values()]


class Judge(unittest.TestCase):
    def test_a_frame_beside_a_cut_is_near_enough_and_two_are_not(self):
        self.assertEqual(check([101, 302], []), [(1, 1, 2), (0, 0, 1)])

    def test_a_system_that_tells_kinds_is_held_to_them(self):
        self.assertEqual(check([100, 160], []), [(1, 1, 2), (0, 0, 1)])
        self.assertEqual(check([300], [160, 165]), [(1, 0, 2), (1, 0, 1)])
        self.assertEqual(check([], [100]), [(0, 0, 2), (0, 1, 1)])

    def test_boundaries_without_kind_count_for_what_they_meet(self):
        self.assertEqual(check([100, 149, 170], None), [(1, 0, 2), (1, 0, 1)])
        self.assertEqual(check([200], None), [(0, 1, 2), (0, 1, 1)])

    def test_measures(self):
        score = shots.Score()
        score.add(found=3, truth=4, false=1)
        self.assertEqual(score.measures()["f1"], 0.75)


if __name__ == "__main__":
    unittest.main()
