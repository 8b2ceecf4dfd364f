"""python3 -B -m unittest discover -s benches/ingest, in a Python with numpy."""

import unittest

import tracks


def track(start, end, x, embedding=None):
    """A face that stands still at x."""
    boxes = [[start, x, 0.2, 0.1, 0.2], [end, x, 0.2, 0.1, 0.2]]
    return {"start": start, "end": end, "boxes": boxes, "embedding": embedding}


class Recall(unittest.TestCase):
    REFERENCE = [track(0, 99, 0.1, [1, 0]), track(0, 99, 0.6, [0, 1]), track(200, 205, 0.1)]

    def check(self, found, expected):
        """`found` and `covered` of the two tracks that are long enough."""
        told = tracks.recall(self.REFERENCE, found)
        self.assertEqual((told["tracks_found"], told["time_covered"]), expected)
        self.assertEqual(told["tracks_wanted"], 2)
        return told

    def test_all_are_found_where_all_is_the_same(self):
        self.assertEqual(self.check(self.REFERENCE, (1.0, 1.0))["embedding_cosine"], 1.0)

    def test_parts_of_a_track_find_it_and_cover_what_they_last(self):
        self.check([track(0, 49, 0.11), track(60, 99, 0.1)], (0.5, 0.45))

    def test_a_face_elsewhere_or_at_another_time_is_another(self):
        self.check([track(0, 99, 0.3), track(100, 199, 0.1)], (0.0, 0.0))
        self.check([], (0.0, 0.0))

    def test_a_track_that_lasts_too_long_is_none(self):
        self.check([track(60, 300, 0.1)], (0.0, 0.0))

    def test_boxes_between_those_known_lie_between_them(self):
        moving = {"boxes": [[0, 0.0, 0, 1, 1], [10, 0.5, 0, 1, 1]]}
        self.assertEqual(tracks.boxes_at(moving, [4]).tolist(), [[0.2, 0.0, 1.0, 1.0]])

    def test_known_faces_are_found_where_they_are_in_the_middle_of_their_shot(self):
        faces = [{"person": "a", "box": [10, 20, 10, 20]}, {"person": "b", "box": [60, 20, 10, 20]}]
        shots = [{"first": 0, "end": 100, "faces": faces}, {"first": 100, "end": 200, "faces": []}]
        truth = {"width": 100, "height": 100, "shots": shots}
        told = tracks.known_faces(truth, [track(0, 79, 0.1), track(0, 40, 0.6)])
        self.assertEqual(told, {"faces_known": 2, "known_found": 0.5, "known_covered": 0.4})


if __name__ == "__main__":
    unittest.main()
