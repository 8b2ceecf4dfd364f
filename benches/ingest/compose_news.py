#!/usr/bin/env python3
"""Composes the film that ingest is measured on: what a news channel shows, with known faces.

    compose_news.py --out FOLDER [--fixtures FOLDER] [--seconds S]

Writes `film.mp4` (1920x1080, 25 frames a second, H.264 at 5 Mb/s, a key frame every 50 frames
whatever is shown, as broadcasters cut it for streaming) and `truth.json` beside it: `fps`, `width`, `height`,
`frames`; `shots`, each with `first` and `end` frame, `kind` and `faces`, a list of `person` and
`box` ([x, y, width, height] in pixels, in the middle of the shot; of a face that moves by itself,
about).

Most shots are two to four people, each in a window of their own under a camera that zooms, pans or
sways; others are one person, somebody who talks in a car, or nobody. A band of text scrolls
below, and every frame has grain. Seeds are fixed: same arguments, same pictures.
Needs numpy, OpenCV, and the program `ffmpeg`.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

FPS, WIDTH, HEIGHT = 25, 1920, 1080
BAND = 84
SEED = 2_600
# Who is in which picture: the face's middle and width, as shares of the picture's sides.
PEOPLE = {
    "obama.jpg": ("obama", 0.53, 0.235, 0.27),
    "obama2.jpg": ("obama", 0.57, 0.375, 0.42),
    "obama3.jpg": ("obama", 0.54, 0.225, 0.20),
    "biden.jpg": ("biden", 0.60, 0.17, 0.30),
    "astronaut.png": ("astronaut", 0.44, 0.29, 0.18),
    "carphone_pristine.mp4": ("passenger", 0.47, 0.49, 0.29),
}
KINDS = {"panels": 0.62, "single": 0.14, "talk": 0.08, "film": 0.11, "still": 0.05}
ENCODING = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "5M", "-maxrate", "6M", "-bufsize", "10M",
            "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-bf", "3", "-threads", "4",
            "-pix_fmt", "yuv420p", "-movflags", "+faststart"]


class ComposeError(Exception):
    """The film cannot be composed; the text says why."""


def clip(path):
    """All frames of a film."""
    reader, frames = cv2.VideoCapture(str(path)), []
    while True:
        more, frame = reader.read()
        if not more:
            break
        frames.append(frame)
    if not frames:
        raise ComposeError(f"{path}: not a film")
    return frames


class Material:
    """Pictures and films, as lists of frames by name."""

    def __init__(self, fixtures):
        self.frames = {}
        for name in [*PEOPLE, "coffee.png", "bigbuckbunny.mp4"]:
            path = fixtures / name
            if name.endswith(".mp4"):
                self.frames[name] = clip(path)
                continue
            picture = cv2.imread(str(path))
            if picture is None:
                raise ComposeError(f"{path}: not a picture")
            self.frames[name] = [picture]

    def at(self, name, k):
        """Frame k, forth and back."""
        frames = self.frames[name]
        period = max(2 * len(frames) - 2, 1)
        i = k % period
        return frames[i if i < len(frames) else period - i]


class Window:
    """A part of the screen in which a camera shows one source."""

    def __init__(self, rng, name, picture, area, face_pixels):
        self.name, self.area = name, area
        height, width = picture.shape[:2]
        _, x, y, share = PEOPLE.get(name, (None, 0.5, 0.5, None))
        fill = max(area[2] / width, area[3] / height)
        wanted = face_pixels / (share * width) if share else fill
        self.scale = max(fill, wanted) * 1.12
        # The face a little above the middle of its window.
        self.middle = np.array([x * width, y * height])
        self.target = np.array([0.5, 0.42 if share else 0.5]) * area[2:]
        self.zoom = float(rng.choice([0, 0, 0.0006, -0.0004, 0.0012]))
        self.pan = rng.choice([0, 0, 0.25, 0.5, -0.4]) * rng.uniform(0.5, 1.5, 2) * [1, 0.3]
        self.sway = rng.uniform(0, 2.5) if rng.random() < 0.4 else 0.0
        self.phase = rng.uniform(0, 6)
        self.size = (width, height)

    def transform(self, k):
        """From pixels of the source to pixels of the window, as a scale and a shift."""
        scale = self.scale * (1 + self.zoom * k)
        swing = np.array([np.sin(k * 0.11 + self.phase), np.cos(k * 0.07 + self.phase)])
        shift = self.target - scale * self.middle + self.pan * k + self.sway * swing
        # The window stays within the source.
        least = np.array(self.area[2:]) - scale * np.array(self.size)
        return scale, np.clip(shift, np.minimum(least, 0), 0)

    def draw(self, screen, material, k):
        """Puts frame k of the shot onto the screen."""
        scale, shift = self.transform(k)
        x, y, width, height = self.area
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        screen[y:y + height, x:x + width] = cv2.warpAffine(
            material.at(self.name, k), matrix, (width, height), flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101)

    def face(self, k):
        """The face's box on the screen, if the source has one."""
        if self.name not in PEOPLE:
            return None
        person, x, y, share = PEOPLE[self.name]
        scale, shift = self.transform(k)
        middle = scale * np.array([x, y]) * self.size + shift + self.area[:2]
        side = scale * share * self.size[0]
        box = [*(middle - side * np.array([0.5, 0.65])), side, 1.3 * side]
        return {"person": person, "box": [round(float(v), 1) for v in box]}


def windows(rng, kind, material):
    """What is on the screen in a shot of this kind."""
    def window(name, area, face_pixels=0):
        return Window(rng, name, material.at(name, 0), area, face_pixels)

    whole = (0, 0, WIDTH, HEIGHT)
    people = list(rng.permutation([name for name in PEOPLE if name.endswith(("jpg", "png"))]))
    if kind == "talk":
        return [window("carphone_pristine.mp4", whole)]
    if kind == "film":
        return [window("bigbuckbunny.mp4", whole)]
    if kind == "still":
        return [window("coffee.png", whole)]
    if kind == "single":
        return [window(people[0], whole, rng.uniform(180, 420))]
    count = int(rng.integers(2, 5))
    if rng.random() < 0.3:
        people[int(rng.integers(count))] = "carphone_pristine.mp4"
    width = (WIDTH - 40 * (count + 1)) // count
    height = int(rng.integers(560, 900))
    top = (HEIGHT - BAND - height) // 2
    return [window(name, (40 + i * (width + 40), top, width, height), rng.uniform(70, 240))
            for i, name in enumerate(people[:count])]


def plan(material, seconds):
    """The shots: (kind, frames, windows, background)."""
    rng = np.random.default_rng(SEED)
    shots, total = [], 0
    while total < seconds * FPS:
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        frames = int(min(rng.integers(3 * FPS, 8 * FPS), seconds * FPS - total))
        colour = rng.integers(20, 200, (2, 2, 3)).astype(np.uint8)
        back = cv2.resize(colour, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        shots.append((kind, frames, windows(rng, kind, material), back))
        total += frames
    return shots


def picture_stream(shots, material):
    """Frame after frame, with the band of text and grain."""
    rng = np.random.default_rng(SEED + 1)
    glyphs = np.kron(rng.random((5, 700)) < 0.5, np.ones((8, 6))).astype(np.uint8) * 235
    text = np.full((BAND, glyphs.shape[1], 3), (96, 32, 24), np.uint8)
    text[22:62][glyphs > 0] = 235
    grain = rng.normal(0, 2.2, (HEIGHT + 64, WIDTH + 64, 1)).round().astype(np.int8)
    grain = np.repeat(grain, 3, axis=2)
    more, less = np.maximum(grain, 0).astype(np.uint8), np.maximum(-grain, 0).astype(np.uint8)
    number = 0
    for _, frames, shown, back in shots:
        for k in range(frames):
            screen = back.copy()
            for window in shown:
                window.draw(screen, material, k)
            at = 4 * number % (text.shape[1] - WIDTH)
            screen[-BAND:] = text[:, at:at + WIDTH]
            dy, dx = rng.integers(0, 64, 2)
            part = np.s_[dy:dy + HEIGHT, dx:dx + WIDTH]
            yield cv2.subtract(cv2.add(screen, more[part]), less[part])
            number += 1


def compose(folder, fixtures, seconds):
    """Writes film and truth, unless both are there."""
    film, truth = folder / "film.mp4", folder / "truth.json"
    if film.exists() and truth.exists():
        return film, truth
    folder.mkdir(parents=True, exist_ok=True)
    material = Material(fixtures)
    shots = plan(material, seconds)
    unfinished = folder / "unfinished.mp4"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24",
               "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "-", *ENCODING, str(unfinished)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        for picture in picture_stream(shots, material):
            encoder.stdin.write(picture.tobytes())
        encoder.stdin.close()
    if encoder.returncode != 0:
        raise ComposeError("ffmpeg failed; it needs the encoder libx264")
    listed, first = [], 0
    for kind, frames, shown, _ in shots:
        faces = [face for face in (window.face(frames // 2) for window in shown) if face]
        listed.append({"first": first, "end": first + frames, "kind": kind, "faces": faces})
        first += frames
    truth.write_text(json.dumps({"fps": FPS, "width": WIDTH, "height": HEIGHT,
                                 "frames": first, "shots": listed}, indent=1) + "\n")
    unfinished.rename(film)
    return film, truth


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    assets = Path(os.environ.get("ROLLCALL_ASSETS", ".assets"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fixtures", type=Path, default=assets / "fixtures")
    parser.add_argument("--seconds", type=int, default=120)
    arguments = parser.parse_args()
    try:
        film, _ = compose(arguments.out, arguments.fixtures, arguments.seconds)
    except ComposeError as why:
        sys.exit(f"compose_news: error: {why}")
    print(film)


if __name__ == "__main__":
    main()
