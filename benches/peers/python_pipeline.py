#!/usr/bin/env python3
"""What a Python user would write: the peer that ingest is held against.

    python_pipeline.py VIDEO --detector FILE --embedder FILE [--every N] [--size PIXELS]
                       [--threads N] [--out FILE]

OpenCV reads the film (its decoder has as many threads as it likes), ONNX Runtime runs CenterFace on
every n-th frame and MobileFaceNet on the aligned faces of each such frame in one batch, a SORT
tracker (Bewley et al., 2016) follows boxes. Frames between are skipped without being converted.
Prints a JSON object: `frames`, `faces`, `tracks`, `stages` (seconds); writes the tracks, one JSON
object a line: `start`, `end` (frames), `boxes` ([frame, x, y, width, height] in shares of the
picture), `embedding` (mean).
"""

import argparse
import json
import time
from collections import defaultdict

import cv2
import numpy as np
import onnxruntime as ort
from scipy.optimize import linear_sum_assignment

SCORE_MIN, NMS_MAX, STRIDE, MULTIPLE = 0.5, 0.3, 4, 32
SIDE_MAX, SIDE_MIN, BATCH_MAX = 1280, 24, 16
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366],
                     [41.5493, 92.3655], [70.7299, 92.2041]], np.float32)


def session(path, threads):
    """A model on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def overlaps(a, b):
    """IoU of every box (x1, y1, x2, y2) of `a` with every one of `b`."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(np.maximum(x[:, 2:4] - x[:, :2], 0), axis=1) for x in (a, b)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-9)


class CenterFace:
    """Faces of a picture: Xu et al., 2019."""

    def __init__(self, path, size, threads):
        self.session, self.size = session(path, threads), size
        self.input = self.session.get_inputs()[0].name

    def __call__(self, picture):
        height, width = picture.shape[:2]
        factor = self.size / max(height, width)
        shape = [-(-round(side * factor) // MULTIPLE) * MULTIPLE for side in (width, height)]
        blob = cv2.dnn.blobFromImage(picture, 1.0, tuple(shape), swapRB=True)
        heat, scale, offset, landmarks = self.session.run(None, {self.input: blob})
        rows, columns = np.nonzero(heat[0, 0] >= SCORE_MIN)
        if len(rows) == 0:
            return np.empty((0, 5), np.float32), np.empty((0, 5, 2), np.float32)
        score = heat[0, 0, rows, columns]
        tall, wide = np.exp(scale[0][:, rows, columns]) * STRIDE
        top = (rows + offset[0, 0, rows, columns] + 0.5) * STRIDE - tall / 2
        left = (columns + offset[0, 1, rows, columns] + 0.5) * STRIDE - wide / 2
        points = landmarks[0][:, rows, columns].T.reshape(-1, 5, 2)[:, :, ::-1]
        points = points * np.stack([wide, tall], 1)[:, None] + np.stack([left, top], 1)[:, None]
        boxes = np.stack([left, top, left + wide, top + tall, score], 1)
        kept = cv2.dnn.NMSBoxes(np.stack([left, top, wide, tall], 1).tolist(), score.tolist(),
                                SCORE_MIN, NMS_MAX)
        kept = np.asarray(kept).reshape(-1)
        back = np.array([width / shape[0], height / shape[1]], np.float32)
        boxes = boxes[kept]
        boxes[:, :4] *= np.tile(back, 2)
        return boxes.astype(np.float32), (points[kept] * back).astype(np.float32)


class Embedder:
    """Embeddings of aligned faces, at length 1."""

    def __init__(self, path, threads):
        self.session = session(path, threads)
        model_input = self.session.get_inputs()[0]
        self.input = model_input.name
        # Some models take one face at a time.
        self.most = model_input.shape[0] if isinstance(model_input.shape[0], int) else BATCH_MAX

    def __call__(self, crops):
        parts = []
        for first in range(0, len(crops), self.most):
            batch = np.stack(crops[first:first + self.most]).astype(np.float32)
            batch = ((batch - 127.5) / 127.5).transpose(0, 3, 1, 2)
            parts.append(self.session.run(None, {self.input: np.ascontiguousarray(batch)})[0])
        found = np.concatenate(parts)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def align(picture, landmarks):
    """The face on the ArcFace template."""
    matrix, _ = cv2.estimateAffinePartial2D(landmarks, TEMPLATE, method=cv2.LMEDS)
    if matrix is None:
        return None
    return cv2.warpAffine(picture, matrix, (112, 112), flags=cv2.INTER_LINEAR)


class Sort:
    """SORT: a Kalman filter of constant velocity over middle, area and aspect; all tracks at once."""

    OVERLAP_MIN, MISSED_MAX, HITS_MIN = 0.2, 3, 2

    def __init__(self):
        self.step = np.eye(7)
        self.step[[0, 1, 2], [4, 5, 6]] = 1
        self.noise = np.diag([1, 1, 1, 1, 0.01, 0.01, 0.0001])
        self.measured = np.diag([1.0, 1, 10, 10])
        self.open, self.closed = [], []

    @staticmethod
    def _state(box):
        wide, tall = box[2] - box[0], box[3] - box[1]
        return np.array([box[0] + wide / 2, box[1] + tall / 2, wide * tall, wide / max(tall, 1e-6)])

    @staticmethod
    def _box(state):
        wide = np.sqrt(max(state[2] * state[3], 1e-6))
        tall = max(state[2], 1e-6) / wide
        return [state[0] - wide / 2, state[1] - tall / 2, state[0] + wide / 2, state[1] + tall / 2]

    def update(self, frame, boxes, embeddings):
        """Takes in the faces of a frame."""
        for track in self.open:
            track["x"] = self.step @ track["x"]
            track["p"] = self.step @ track["p"] @ self.step.T + self.noise
        free, pairs = set(range(len(boxes))), []
        if self.open and len(boxes):
            predicted = np.array([self._box(track["x"]) for track in self.open])
            iou = overlaps(predicted, boxes)
            pairs = [(t, f) for t, f in zip(*linear_sum_assignment(-iou))
                     if iou[t, f] >= self.OVERLAP_MIN]
        for track in self.open:
            track["missed"] += 1
        for t, f in pairs:
            self._correct(self.open[t], self._state(boxes[f]))
            self._note(self.open[t], frame, boxes[f], embeddings[f])
            free.discard(f)
        for f in sorted(free):
            track = {"x": np.append(self._state(boxes[f]), [0, 0, 0]), "seen": [],
                     "p": np.diag([10.0, 10, 10, 10, 1e4, 1e4, 1e4]), "sum": 0}
            self._note(track, frame, boxes[f], embeddings[f])
            self.open.append(track)
        self.finish(self.MISSED_MAX)

    def _correct(self, track, measure):
        p = track["p"]
        gain = p[:, :4] @ np.linalg.inv(p[:4, :4] + self.measured)
        track["x"] = track["x"] + gain @ (measure - track["x"][:4])
        track["p"] = p - gain @ p[:4]

    @staticmethod
    def _note(track, frame, box, embedding):
        track["missed"] = 0
        track["seen"].append((frame, box))
        track["sum"] = track["sum"] + embedding

    def finish(self, missed_max=-1):
        """Closes tracks missed more often than that."""
        lost = [t for t in self.open if t["missed"] > missed_max]
        self.open = [t for t in self.open if t["missed"] <= missed_max]
        self.closed += [t for t in lost if len(t["seen"]) >= self.HITS_MIN]


def timed(stages, name, call, *arguments):
    """What `call` gives; its time goes to the stage."""
    begun = time.perf_counter()
    result = call(*arguments)
    stages[name] += time.perf_counter() - begun
    return result


def shrink(picture):
    """At most as large as ours."""
    factor = SIDE_MAX / max(picture.shape[:2])
    if factor >= 1:
        return picture
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def run(arguments):
    """The whole film; tracks, counts and stages."""
    cv2.setNumThreads(arguments.threads)
    detect = CenterFace(arguments.detector, arguments.size, arguments.threads)
    embed = Embedder(arguments.embedder, arguments.threads)
    reader, tracker, stages = cv2.VideoCapture(arguments.video), Sort(), defaultdict(float)
    frame = faces = 0
    shape = (1, 1)
    while timed(stages, "decode", reader.grab):
        if frame % arguments.every == 0:
            more, picture = timed(stages, "decode", reader.retrieve)
            if not more:
                break
            picture = timed(stages, "scale", shrink, picture)
            shape = picture.shape[1], picture.shape[0]
            boxes, landmarks = timed(stages, "detect", detect, picture)
            sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
            boxes, landmarks = boxes[sides >= SIDE_MIN], landmarks[sides >= SIDE_MIN]
            crops = timed(stages, "align", lambda p, l: [align(p, x) for x in l], picture, landmarks)
            whole = [i for i, crop in enumerate(crops) if crop is not None]
            faces += len(whole)
            embeddings = np.empty((0, 512), np.float32)
            if whole:
                embeddings = timed(stages, "embed", embed, [crops[i] for i in whole])
            timed(stages, "track", tracker.update, frame, boxes[whole], embeddings)
        frame += 1
    tracker.finish()
    return tracker.closed, shape, frame, faces, stages


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("video")
    parser.add_argument("--detector", required=True)
    parser.add_argument("--embedder", required=True)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    tracks, (width, height), frames, faces, stages = run(arguments)
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as out:
            for track in tracks:
                boxes = [[int(k), *(np.array([b[0], b[1], b[2] - b[0], b[3] - b[1]])
                                    / [width, height, width, height]).round(5).tolist()]
                         for k, b in track["seen"]]
                mean = track["sum"] / max(np.linalg.norm(track["sum"]), 1e-9)
                line = {"start": boxes[0][0], "end": boxes[-1][0], "boxes": boxes,
                        "embedding": mean.round(5).tolist()}
                out.write(json.dumps(line) + "\n")
    print(json.dumps({"frames": frames, "faces": faces, "tracks": len(tracks),
                      "stages": {k: round(v, 3) for k, v in stages.items()}}))


if __name__ == "__main__":
    main()
