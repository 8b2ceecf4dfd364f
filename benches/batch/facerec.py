#!/usr/bin/env python3
"""facerec's `extract.py` (MoMaF/facerec, 2021) anew: the peer of `extract --profile facerec`.

    facerec.py VIDEO --out FOLDER --detector FILE --embedder FILE [--size PIXELS] [--threads N]
               [--save-every N] [--iou-threshold SHARE] [--min-trajectory N]
               [--max-trajectory-age N] [--min-face-size PIXELS]

Its tracker, its rule for shots, its sampling and its files, from their description, with CenterFace
and MobileFaceNet in place of its RetinaFace and FaceNet, so that both sides run the same models.
OpenCV decodes every frame, CenterFace looks at each, SORT follows boxes by motion alone, a cut ends
all of them, and faces of every fifth frame are embedded once their trajectory is believed.

Prints a JSON object: `frames`, `seconds_of_video`, `trajectories`, `features`, `cuts`, and
`stages_s`, processor seconds a stage (`network` is the part of `detect` that ONNX Runtime has).
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from python_pipeline import TEMPLATE, CenterFace, Embedder, overlaps

WEIGHTS = np.array([0.114, 0.587, 0.299], np.float32)
CROP_SIDE, PICTURE_SIDE_MAX, JPEG_QUALITY = 112, 160, 65
POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


class Shots:
    """The rule for cuts, on whole frames: "Fast Pixel-Based Video Scene Change Detection"."""

    def __init__(self):
        self.before = None

    @staticmethod
    def _middle(picture):
        height, width = picture.shape[:2]
        inset = int((height - width / 2) / 2) if width / height < 2 else 0
        return picture[inset:height - inset]

    def push(self, picture):
        """Whether this frame, of blue, green and red, begins a shot. The first two never do."""
        picture = self._middle(picture)
        grey = picture.reshape(-1, 3).astype(np.float32) @ WEIGHTS
        level = grey.astype(np.uint8)
        share = np.cumsum(np.bincount(level, minlength=256)) / level.size
        equal = (255 * share).astype(np.float32)[level]
        before, change, cut = self.before, None, False
        if before is not None:
            mafd = float(np.abs(grey - before[0]).mean())
            mafd_eq = float(np.abs(equal - before[1]).mean())
            change = (mafd, mafd_eq, float(np.abs(equal - mafd_eq).mean()))
            cut = before[2] is not None and is_cut(before[2], change)
        self.before = (grey, equal, change)
        return cut


def is_cut(earlier, change):
    """facerec's thresholds, on (difference, that of equalised pictures, spread) of two frames."""
    mafd, mafd_eq, spread = change
    rise, spread = mafd_eq - earlier[1], abs(spread - earlier[2])
    if mafd < 14 or mafd_eq < 40:
        return False
    if 58 < mafd_eq < 100 and mafd < 100 and spread > 23:
        return True
    if mafd_eq < 85 and mafd > 170:
        return True
    return mafd_eq > 50 and mafd > 35 and rise > 50 and spread > 50


class Track:
    """A face that is followed: a Kalman filter of middle, area and ratio, with their speeds."""

    STEP = np.eye(8) + np.eye(8, k=4)
    DRIFT = np.diag([1, 1, 1, 1, 0.01, 0.01, 0.01, 0.0001])
    MEASURED = np.diag([1.0, 1, 10, 10])

    def __init__(self, frame, box):
        self.state = np.append(self._measure(box), [0.0] * 4)
        self.spread = np.diag([10.0] * 4 + [10_000.0] * 4)
        self.start, self.boxes, self.detected, self.kept = frame, [], [], []
        self.hits, self.missed, self.broken = 1, 0, False

    @staticmethod
    def _measure(box):
        wide, tall = box[2] - box[0], box[3] - box[1]
        return np.array([box[0] + wide / 2, box[1] + tall / 2, wide * tall, wide / max(tall, 1e-6)],
                        float)

    def predict(self):
        """Moves on by a frame."""
        if self.state[2] + self.state[6] <= 0:
            self.state[6] = 0
        self.state = self.STEP @ self.state
        self.spread = self.STEP @ self.spread @ self.STEP.T + self.DRIFT

    def correct(self, box):
        """Takes in a detection."""
        gain = self.spread[:, :4] @ np.linalg.inv(self.spread[:4, :4] + self.MEASURED)
        self.state = self.state + gain @ (self._measure(box) - self.state[:4])
        self.spread = self.spread - gain @ self.spread[:4]
        self.missed = 0
        self.hits += not self.broken

    def miss(self):
        """There was no detection."""
        self.missed += 1
        self.broken = True

    def box(self):
        """Left, top, right, bottom; not a number where area or ratio is none."""
        x, y, area, ratio = self.state[:4]
        if area <= 0 or ratio <= 0:
            return [np.nan] * 4
        wide = np.sqrt(area * ratio)
        tall = area / wide
        return [x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2]

    def note(self, box, size, detected):
        """Writes down where it is in this frame; returns that in whole pixels of the picture."""
        here = np.clip(np.rint(box), 0, np.tile(size, 2)).astype(int).tolist()
        self.boxes.append(here)
        self.detected.append(detected)
        return here


class Sort:
    """facerec's SORT. A track is believed after `hits_min` detections in a row, lost if it misses
    one before, over after more than `age_max` misses in a row."""

    def __init__(self, iou_min, hits_min, age_max):
        self.iou_min, self.hits_min, self.age_max = iou_min, hits_min, age_max
        self.open = []

    def believed(self, track):
        """Whether it was detected often enough from its first frame on."""
        return track.hits >= self.hits_min

    def update(self, frame, boxes, size):
        """Takes in the faces of the next frame: the tracks that are over and were believed, and for
        each face its track and its box in pixels."""
        for track in self.open:
            track.predict()
        self.open = [track for track in self.open if np.isfinite(track.box()).all()]
        owners = {}
        if self.open and len(boxes):
            shared = overlaps(np.array([track.box() for track in self.open]), boxes)
            shared[shared < self.iou_min] = -1
            pairs = zip(*linear_sum_assignment(-shared))
            owners = {t: f for t, f in pairs if shared[t, f] >= self.iou_min}
        placed = {}
        for number, track in enumerate(self.open):
            face = owners.get(number)
            if face is None:
                track.miss()
            else:
                track.correct(boxes[face])
            here = track.note(track.box(), size, face is not None)
            if face is not None:
                placed[face] = (track, here)
        for face in range(len(boxes)):
            if face not in placed:
                track = Track(frame, boxes[face])
                self.open.append(track)
                placed[face] = (track, track.note(boxes[face], size, True))
        over = [track for track in self.open if track.missed > self.age_max]
        self.open = [track for track in self.open if track.missed <= self.age_max
                     and (track.missed == 0 or self.believed(track))]
        return [track for track in over if self.believed(track)], placed

    def close(self):
        """The shot is over: the tracks that were believed."""
        over, self.open = self.open, []
        return [track for track in over if self.believed(track)]


def align(picture, landmarks):
    """The face on the ArcFace template, by the least-squares similarity (Umeyama, 1991)."""
    # Landmarks count from the corner of the first pixel, the template from its middle.
    plane = np.array([1, 1j])
    here, there = (landmarks.astype(float) - 0.5) @ plane, TEMPLATE.astype(float) @ plane
    centred = here - here.mean()
    turn = np.vdot(centred, there - there.mean()) / max(np.vdot(centred, centred).real, 1e-12)
    move = there.mean() - turn * here.mean()
    matrix = np.array([[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag]])
    return cv2.warpAffine(picture, matrix, (CROP_SIDE, CROP_SIDE), flags=cv2.INTER_LINEAR)


def face_picture(picture, box):
    """The box and a tenth of its shorter side around it, at most 160 pixels, as JPEG."""
    pad = round(0.1 * min(box[2] - box[0], box[3] - box[1]))
    crop = picture[max(box[1] - pad, 0):box[3] + pad, max(box[0] - pad, 0):box[2] + pad]
    if crop.size == 0:
        return b""
    factor = PICTURE_SIDE_MAX / max(crop.shape[:2])
    if factor < 1:
        size = [max(round(side * factor), 1) for side in crop.shape[1::-1]]
        crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    if np.array_equal(crop[..., 1], crop[..., 2]):
        crop = crop[..., 1]
    return cv2.imencode(".jpeg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


class Files:
    """The folder of a film, as facerec writes it."""

    def __init__(self, out, movie, frames):
        self.movie, self.root = movie, out / f"{movie}-data"
        self.images = self.root / "images"
        self.images.mkdir(parents=True, exist_ok=True)
        self.counts, self.cuts = defaultdict(int), []
        self.scenes = self._path("scene_changes", frames, "json")
        self.lines = {name: self._path(name, frames, "jsonl").open("w", encoding="utf-8")
                      for name in ("trajectories", "features")}

    def _path(self, name, frames, ending):
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        return folder / f"{name}_{self.movie}_0-{frames}.{ending}"

    def line(self, name, value):
        """One more object of a file."""
        self.counts[name] += 1
        self.lines[name].write(json.dumps(value, separators=(",", ":")) + "\n")

    def close(self):
        """Everything is there."""
        for file in self.lines.values():
            file.close()
        text = json.dumps({"frame_indices": self.cuts}, separators=(",", ":"))
        self.scenes.write_text(text, encoding="utf-8")


class Stages:
    """Processor seconds a stage."""

    def __init__(self):
        self.seconds = defaultdict(float)

    @contextmanager
    def of(self, name):
        """What is done inside goes to the stage."""
        begun = time.process_time()
        yield
        self.seconds[name] += time.process_time() - begun


class TimedSession:
    """A session of ONNX Runtime whose runs are a stage."""

    def __init__(self, session, stages):
        self.session, self.stages = session, stages

    def run(self, *arguments):
        """As the session's."""
        with self.stages.of("network"):
            return self.session.run(*arguments)


class Film:
    """All of it."""

    def __init__(self, arguments):
        self.settings, self.stages = arguments, Stages()
        cv2.setNumThreads(arguments.threads)
        self.detect = CenterFace(arguments.detector, arguments.size, arguments.threads)
        self.detect.session = TimedSession(self.detect.session, self.stages)
        self.embed = Embedder(arguments.embedder, arguments.threads)
        self.reader = cv2.VideoCapture(arguments.video, cv2.CAP_FFMPEG,
                                       [cv2.CAP_PROP_N_THREADS, arguments.threads])
        if not self.reader.isOpened():
            sys.exit(f"facerec: error: {arguments.video}: not a video")
        self.shots = Shots()
        self.sort = Sort(arguments.iou_threshold, arguments.min_trajectory,
                         arguments.max_trajectory_age)
        frames = int(self.reader.get(cv2.CAP_PROP_FRAME_COUNT))
        self.files = Files(arguments.out, arguments.movie_id, frames)
        self.size = (0, 0)

    def run(self):
        """Reads it to its end; what was found."""
        frame, shape = 0, self._display()
        while True:
            with self.stages.of("decode"):
                more, picture = self.reader.read()
            if not more:
                break
            if shape:
                picture = cv2.resize(picture, shape)
            self.push(frame, picture)
            frame += 1
        self.end(self.sort.close())
        self.files.close()
        rate = self.reader.get(cv2.CAP_PROP_FPS)
        return {"frames": frame, "seconds_of_video": frame / rate if rate else 0,
                "trajectories": self.files.counts["trajectories"],
                "features": self.files.counts["features"], "cuts": len(self.files.cuts),
                "stages_s": {name: round(s, 2) for name, s in self.stages.seconds.items()}}

    def _display(self):
        """The size at which the film is to be shown, where its pixels are not square."""
        get = self.reader.get
        over, under = get(cv2.CAP_PROP_SAR_NUM), get(cv2.CAP_PROP_SAR_DEN)
        if over <= 0 or under <= 0 or over == under:
            return None
        return (round(get(cv2.CAP_PROP_FRAME_WIDTH) * over / under),
                int(get(cv2.CAP_PROP_FRAME_HEIGHT)))

    def push(self, frame, picture):
        """The next frame."""
        self.size = picture.shape[1], picture.shape[0]
        with self.stages.of("shots"):
            cut = self.shots.push(picture)
        if cut:
            self.files.cuts.append(frame)
            self.end(self.sort.close())
        with self.stages.of("detect"):
            boxes, landmarks = self.detect(picture)
        sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        large = sides >= self.settings.min_face_size
        boxes, landmarks = boxes[large, :4], landmarks[large]
        with self.stages.of("track"):
            over, placed = self.sort.update(frame, boxes, self.size)
        if frame % self.settings.save_every == 0:
            with self.stages.of("crops"):
                for face, (track, here) in placed.items():
                    points = landmarks[face]
                    crop, jpeg = align(picture, points), face_picture(picture, here)
                    track.kept.append((frame, here, points, crop, jpeg))
        self.end(over)
        self.embed_kept(self.sort.open)

    def embed_kept(self, tracks):
        """Embeds and writes what was kept of tracks that are believed by now."""
        kept = []
        for track in filter(self.sort.believed, tracks):
            kept += track.kept
            track.kept = []
        if not kept:
            return
        with self.stages.of("embed"):
            embeddings = self.embed([crop for _, _, _, crop, _ in kept])
        with self.stages.of("write"):
            for (frame, box, points, _, jpeg), embedding in zip(kept, embeddings):
                tag = f"{self.files.movie}:{frame}:{'_'.join(map(str, box))}"
                places = np.rint(points).astype(int).tolist()
                self.files.line("features", {
                    "frame": frame, "tag": tag, "embedding": embedding.tolist(), "box": box,
                    "keypoints": dict(zip(POINTS, places)), "w": self.size[0], "h": self.size[1]})
                (self.files.images / f"{tag}.jpeg").write_bytes(jpeg)

    def end(self, tracks):
        """Writes tracks that are over, without what was only foreseen at their ends."""
        self.embed_kept(tracks)
        for track in tracks:
            length = len(track.boxes) - track.detected[::-1].index(True)
            self.files.line("trajectories", {
                "start": track.start, "len": length, "bbs": track.boxes[:length],
                "detected": track.detected[:length], "w": self.size[0], "h": self.size[1],
                "object_type": "face"})


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("video")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--movie-id", type=int, default=1)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--embedder", required=True)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=5)
    parser.add_argument("--iou-threshold", type=float, default=0.5)
    parser.add_argument("--min-trajectory", type=int, default=3)
    parser.add_argument("--max-trajectory-age", type=int, default=5)
    parser.add_argument("--min-face-size", type=float, default=0)
    print(json.dumps(Film(parser.parse_args()).run()))


if __name__ == "__main__":
    main()
