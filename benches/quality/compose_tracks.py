#!/usr/bin/env python3
"""Composes films in which it is known where whose face is, for trackers to be judged by.

    compose_tracks.py --out FOLDER [--photos FOLDER] [--fixtures FOLDER] [--films N]

Writes two halves, `dev-N` and `held-N`, which share neither people, backgrounds nor seeds. A film is
three shots with cuts between; in each, heads cut out of photos (and, in the held-out half, a talking
head) move over a picture, a clip or a texture: they wander, cross, dart, leave and come back, turn
(are squeezed), and pass behind pillars and each other, while the camera stands, pans, zooms or shakes.

Beside each film `NAME.mp4` lies its truth `NAME.csv`, a line `frame,person,x,y,width,height,visible` a
face and frame, frames from 0, pixels, `visible` the share of the face that can be seen, 0 where it is
turned away. A person has a number a shot. `cuts` are in `NAME.cuts`.

`made-dev-N` and `made-held-N` have no pictures: `NAME.json` and `NAME.npy` are what a detector and an
embedder might say of such scenes (in the form of the program `tracks`), with jitter, faces missed one
by one and for a while, false ones, and of two faces that overlap only the nearer one.

Needs numpy, cv2 and the program `ffmpeg`. Same arguments, same films, where those are the same.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from compose_shots import (FPS, HALVES, Clip, ComposeError, Still, Texture, clouds, decoded, palette,
                           scenery)

# Photos are scaled to fit into this size; boxes are those of the detector there.
FIT = (1280, 886)
# Picture, face box [x, y, width, height].
PEOPLE = {
    "dev": [("obama.jpg", (289, 68, 184, 267)), ("t1.jpg", (61, 267, 107, 123)),
            ("t1.jpg", (273, 153, 98, 114)), ("t1.jpg", (746, 349, 102, 132))],
    "held": [("biden.jpg", (174, 79, 109, 149)), ("astronaut.png", (308, 102, 162, 216)),
             ("t1.jpg", (463, 271, 108, 144)), ("t1.jpg", (1135, 273, 91, 126)),
             ("t1.jpg", (902, 61, 108, 141)), ("Tom_Hanks_54745.png", (0, -25, 696, 976)),
             ("carphone_pristine.mp4", (400, 225, 295, 379))],
}
SEEDS = {"dev": 21, "held": 9_000}
SIZES = [(640, 360), (960, 540), (768, 432)]


class Head:
    """Cut-outs of a head, with soft edges, and the face box in them."""

    SIDE = 256

    def __init__(self, frames, box):
        x, y, w, h = box
        scale = self.SIDE / (2.1 * h)
        center = (x + w / 2, y + h / 2)
        move = np.float32([[scale, 0, self.SIDE / 2 - scale * center[0]],
                           [0, scale, self.SIDE / 2 - scale * center[1]]])
        yy, xx = np.mgrid[0:self.SIDE, 0:self.SIDE] - self.SIDE / 2
        far = np.hypot(xx / (0.92 * w * scale), yy / (0.92 * h * scale))
        soft = np.clip((1 - far) / 0.12, 0, 1).astype(np.float32)
        self.frames = []
        for frame in frames:
            cut = cv2.warpAffine(frame, move, (self.SIDE, self.SIDE), flags=cv2.INTER_AREA)
            inside = cv2.warpAffine(np.ones(frame.shape[:2], np.float32), move,
                                    (self.SIDE, self.SIDE))
            mask = (soft * inside)[:, :, None]
            self.frames.append(np.dstack([cut * mask, mask]).astype(np.float32))
        self.size = (w * scale, h * scale)

    def draw(self, image, owners, number, k, place):
        """Draws itself; `place`: x, y, face height, squeeze, tilt."""
        x, y, height, squeeze, tilt = place
        scale, half = height / self.size[1], self.SIDE / 2
        cos, sin = np.cos(tilt) * scale, np.sin(tilt) * scale
        move = np.float32([[cos * squeeze, -sin, 0], [sin * squeeze, cos, 0]])
        move[:, 2] = np.float32([x, y]) - move[:, :2] @ np.float32([half, half])
        period = max(2 * len(self.frames) - 2, 1)
        at = k % period
        cut = self.frames[at if at < len(self.frames) else period - at]
        moved = cv2.warpAffine(cut, move, (image.shape[1], image.shape[0]))
        mask = moved[:, :, 3:]
        image *= 1 - mask
        image += moved[:, :, :3]
        owners[mask[:, :, 0] > 0.5] = number


def box_at(place, aspect):
    """x, y, width, height of the face at a place."""
    x, y, height, squeeze, _ = place
    width = height * aspect * squeeze
    return x - width / 2, y - height / 2, width, height


def triangle(t):
    """0 to 1 and back, in 2."""
    return np.abs((t % 2) - 1)


def noise(rng, frames, smooth):
    wobble = np.convolve(rng.standard_normal(frames + 4 * smooth), np.hanning(2 * smooth), "same")
    wobble = wobble[2 * smooth:][:frames]
    return wobble / max(wobble.std(), 1e-6)


def path(rng, frames, width, height, face):
    """Places of one person in the world, a row a frame."""
    t = np.arange(frames) / FPS
    kind = rng.choice(["wander", "cross", "dart", "leave"], p=[.3, .35, .2, .15])
    y = height * rng.uniform(0.38, 0.6) + noise(rng, frames, 20) * face * 0.15
    if kind == "wander":
        speed, reach = rng.uniform(0.1, 0.4), rng.uniform(0.05, 0.25) * width
        x = rng.uniform(0.2, 0.8) * width + reach * np.sin(2 * np.pi * speed * t + rng.uniform(0, 6))
    elif kind == "cross":
        pace = rng.uniform(0.8, 2.2) * face / (0.8 * width)
        x = width * (0.1 + 0.8 * triangle(pace * t + rng.uniform(0, 2)))
    elif kind == "dart":
        pace = rng.uniform(2.2, 4.5) * face / (0.7 * width)
        moving = np.cumsum(noise(rng, frames, 12) > -0.2) / FPS
        x = width * (0.15 + 0.7 * triangle(pace * moving + rng.uniform(0, 2)))
        x = np.convolve(np.pad(x, 3, "edge"), np.full(7, 1 / 7), "valid")
    else:
        pace = rng.uniform(0.8, 2.0) * face / width
        x = width * (-0.25 + 1.5 * triangle(pace * t + rng.uniform(0, 2)))
    squeeze = np.ones(frames)
    for _ in range(int(rng.integers(0, 3))):
        long, start = int(rng.integers(14, 36)), int(rng.integers(0, max(frames - 40, 1)))
        dip = 1 - rng.uniform(0.5, 0.75) * np.sin(np.linspace(0, np.pi, long)) ** 2
        part = squeeze[start:start + long]
        part[:] = np.minimum(part, dip[:len(part)])
    size = face * (1 + 0.06 * noise(rng, frames, 30))
    x = x + noise(rng, frames, 6) * face * 0.03
    return np.stack([x, y, size, squeeze, 0.1 * noise(rng, frames, 15)], 1)


def camera(rng, frames, width, face):
    """Shift and zoom, a row a frame."""
    t = np.arange(frames) / FPS
    kind = rng.choice(["still", "pan", "zoom", "shake"], p=[.35, .3, .15, .2])
    shift, zoom = np.zeros((frames, 2)), np.ones(frames)
    if kind == "pan":
        pace = rng.uniform(0.5, 2.5) * face
        reach = 0.35 * width
        shift[:, 0] = reach * (triangle(pace * t / reach + rng.uniform(0, 2)) - 0.5)
    elif kind == "zoom":
        zoom = 1 + 0.5 * triangle(t / rng.uniform(2, 5) + rng.uniform(0, 2))
    elif kind == "shake":
        shift = np.stack([noise(rng, frames, 5), noise(rng, frames, 5)], 1) * face * 0.15
    return shift, zoom


class Scene:
    """A shot: who is where, and what hides them."""

    def __init__(self, rng, frames, width, height, people):
        self.width, self.height, self.people = width, height, people
        face = height * rng.uniform(0.16, 0.26)
        shift, zoom = camera(rng, frames, width, face)
        middle = np.array([width / 2, height / 2])
        self.places = []
        for _ in people:
            place = path(rng, frames, width, height, face * rng.uniform(0.85, 1.15))
            place[:, :2] = (place[:, :2] - shift - middle) * zoom[:, None] + middle
            place[:, 2] *= zoom
            self.places.append(place)
        self.shift, self.zoom = shift, zoom
        # Left edge and width of what stands or passes in front of everybody, a row a frame.
        t = np.arange(frames) / FPS
        self.pillars = []
        for _ in range(int(rng.integers(0, 3))):
            wide, x = face * rng.uniform(0.6, 1.3), rng.uniform(0.1, 0.9) * width
            if rng.random() < 0.4:
                x = width * (1.4 * triangle(rng.uniform(0.1, 0.4) * t + rng.uniform(0, 2)) - 0.2)
            x = (x - shift[:, 0] - middle[0]) * zoom + middle[0]
            self.pillars.append(np.stack([x, wide * zoom], 1))


class Film:
    """Scenes one after another, drawn."""

    def __init__(self, seed, number, heads, backgrounds):
        rng = np.random.default_rng([seed, number])
        self.size = SIZES[number % len(SIZES)]
        self.scenes = []
        for _ in range(3):
            frames = int(rng.integers(200, 300))
            count = int(rng.integers(2, min(5, len(heads) + 1)))
            people = rng.permutation(len(heads))[:count]
            scene = Scene(rng, frames, *self.size, [heads[p] for p in people])
            ground = backgrounds[int(rng.integers(len(backgrounds)))]
            cloth = palette(rng)[clouds(rng, *self.size, 1.5)]
            self.scenes.append((scene, frames, ground, cloth))
        self.cuts = np.cumsum([s[1] for s in self.scenes])[:-1].tolist()
        self.truth = []

    def frames(self):
        begin, person = 0, 1
        for scene, frames, ground, cloth in self.scenes:
            for k in range(frames):
                yield self.draw(scene, ground, cloth, k, begin + k, person)
            begin, person = begin + frames, person + len(scene.people)

    def draw(self, scene, ground, cloth, k, frame, person):
        width, height = self.size
        picture = ground.at(k)
        cover = max(width / picture.shape[1], height / picture.shape[0]) * 1.5 * scene.zoom[k]
        x, y = np.array(self.size) / 2 - cover * np.array(picture.shape[1::-1]) / 2
        dx, dy = scene.shift[k] * 0.6
        move = np.float32([[cover, 0, x - dx], [0, cover, y - dy]])
        image = cv2.warpAffine(picture, move, self.size,
                               borderMode=cv2.BORDER_REFLECT).astype(np.float32)
        owners = np.zeros((height, width), np.uint8)
        for number, head in enumerate(scene.people):
            head.draw(image, owners, number + 1, k, scene.places[number][k])
        for pillar in scene.pillars:
            left, wide = pillar[k]
            a, b = int(np.clip(left, 0, width)), int(np.clip(left + wide, 0, width))
            image[:, a:b], owners[:, a:b] = cloth[:, a:b], 255
        for number, head in enumerate(scene.people):
            place = scene.places[number][k]
            box = box_at(place, head.size[0] / head.size[1])
            visible = seen(owners == number + 1, box) if place[3] > 0.6 else 0.0
            self.truth.append((frame, person + number, *box, visible))
        return np.clip(image, 0, 255).astype(np.uint8)


def seen(own, box):
    """The share of the ellipse in a box that is its owner's, the part outside the picture included."""
    x, y, w, h = box
    left, top = int(np.floor(x)), int(np.floor(y))
    yy, xx = np.mgrid[top:int(np.ceil(y + h)), left:int(np.ceil(x + w))]
    inside = ((xx + 0.5 - x - w / 2) / (w / 2)) ** 2 + ((yy + 0.5 - y - h / 2) / (h / 2)) ** 2 < 0.8
    there = (xx >= 0) & (yy >= 0) & (xx < own.shape[1]) & (yy < own.shape[0])
    shown = own[np.clip(yy, 0, own.shape[0] - 1), np.clip(xx, 0, own.shape[1] - 1)]
    return float((inside & there & shown).sum() / max(inside.sum(), 1))


def write_truth(truth, cuts, path):
    rows = ("{},{},{:.2f},{:.2f},{:.2f},{:.2f},{:.3f}\n".format(*row) for row in truth)
    path.with_suffix(".csv").write_text("".join(rows), encoding="utf-8")
    path.with_suffix(".cuts").write_text(json.dumps(cuts) + "\n", encoding="utf-8")


def write_film(film, path):
    width, height = film.size
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
               "-s", f"{width}x{height}", "-r", str(FPS), "-i", "-", "-c:v", "libx264", "-preset",
               "superfast", "-crf", "20", "-pix_fmt", "yuv420p", "-f", "mp4", f"{path}.part"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        for image in film.frames():
            encoder.stdin.write(image.tobytes())
        encoder.stdin.close()
    if encoder.returncode != 0:
        raise ComposeError(f"ffmpeg failed (exit {encoder.returncode})")
    write_truth(film.truth, film.cuts, path)
    os.replace(f"{path}.part", path)


def material(half, fixtures, photos):
    """Heads and backgrounds of one half."""
    heads, cache = [], {}
    for name, box in PEOPLE[half]:
        if name not in cache:
            folder = fixtures if (fixtures / name).exists() else photos
            cache[name] = fitted(folder / name)
        heads.append(Head(cache[name], box))
    rng = np.random.default_rng(SEEDS[half])
    grounds = [Still(scenery(rng)) for _ in range(4)] + [Texture(rng) for _ in range(2)]
    for name, first, last in HALVES[half]["clips"]:
        if name.startswith("bigbuckbunny"):
            grounds += [Clip(decoded(fixtures / name, 960, 540, frames=last)[first:])] * 3
    return heads, grounds


def fitted(path):
    """Frames of a picture or clip, scaled to fit into FIT."""
    fit = "scale={0}:{1}:force_original_aspect_ratio=decrease,pad={0}:{1}:0:0".format(*FIT)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-vf", fit, "-fps_mode",
               "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise ComposeError(f"{path}: {done.stderr.decode(errors='replace').strip()}")
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, FIT[1], FIT[0], 3)[::2]


class Made:
    """A film without pictures: what a detector and an embedder might say."""

    DIMENSION = 64

    def __init__(self, seed, number):
        rng = np.random.default_rng([seed, number, 1])
        self.size, self.truth, self.faces, self.vectors, self.cuts = (1280, 720), [], [], [], []
        self.frames, person = 0, 1
        for _ in range(6):
            frames, count = int(rng.integers(200, 300)), int(rng.integers(2, 7))
            people = rng.standard_normal((count, self.DIMENSION))
            people /= np.linalg.norm(people, axis=1, keepdims=True)
            scene = Scene(rng, frames, *self.size, people)
            gone = np.stack([np.repeat(rng.random(frames // 8 + 1) < 0.04, 8)[:frames]
                             for _ in people])
            for k in range(frames):
                self.look(rng, scene, k, person, gone[:, k])
            self.frames += frames
            self.cuts.append(self.frames)
            person += count
        self.cuts.pop()

    def look(self, rng, scene, k, person, gone):
        frame, count = self.frames + k, len(scene.people)
        boxes = [box_at(place[k], 0.75) for place in scene.places]
        hides = [(*pillar[k], 0.0, self.size[1]) for pillar in scene.pillars]
        hides = [(left, top, wide, high) for left, wide, top, high in hides]
        found = []
        for number in range(count):
            place, box = scene.places[number][k], boxes[number]
            covers = [b for b in boxes[number + 1:]] + hides
            visible = max(0.0, 1 - sum(shared(box, b) for b in covers)) * inside(box, self.size)
            visible = visible if place[3] > 0.6 else 0.0
            self.truth.append((frame, person + number, *box, visible))
            sure = min(visible, (place[3] - 0.3) / 0.7)
            if gone[number] or rng.random() > np.clip(1.9 * sure - 0.4, 0, 0.97):
                continue
            x, y, w, h = box
            jitter = rng.standard_normal(4) * 0.035 * h
            found.append((number, (x + jitter[0], y + jitter[1], w + jitter[2], h + jitter[3]), sure))
        kept = [f for f in found if all(over(f[1], other[1]) < 0.3 for other in found
                                        if other[0] > f[0])]
        for number, box, sure in kept:
            score = float(np.clip(0.5 + 0.45 * sure + 0.05 * rng.standard_normal(), 0.5, 0.99))
            good = sure > 0.6
            self.faces.append([frame, *map(float, box), score, score if good else None])
            if good:
                spread = (0.5 + 0.8 * (1 - sure)) / np.sqrt(self.DIMENSION)
                vector = scene.people[number] + spread * rng.standard_normal(self.DIMENSION)
                self.vectors.append(vector / np.linalg.norm(vector))
        if rng.random() < 0.004:
            x, y = rng.uniform(0, 1100), rng.uniform(0, 600)
            self.faces.append([frame, x, y, 60.0, 80.0, 0.55, None])

    def write(self, path):
        found = {"width": self.size[0], "height": self.size[1], "fps": FPS, "frames": self.frames,
                 "cuts": self.cuts, "faces": self.faces}
        np.save(path.with_suffix(".npy"), np.float32(self.vectors).reshape(-1, self.DIMENSION))
        write_truth(self.truth, self.cuts, path)
        path.with_suffix(".json").write_text(json.dumps(found), encoding="utf-8")


def shared(a, b):
    """The share of box a that box b covers."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(w, 0) * max(h, 0) / max(a[2] * a[3], 1e-6)


def over(a, b):
    """Intersection over union."""
    both = shared(a, b) * a[2] * a[3]
    return both / max(a[2] * a[3] + b[2] * b[3] - both, 1e-6)


def inside(box, size):
    return shared(box, (0, 0, *size))


def compose(out, fixtures, photos, films):
    """Makes the films that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for half, seed in SEEDS.items():
        for number in range(films):
            path = out / f"made-{half}-{number}.json"
            if not path.exists():
                Made(seed, number).write(path)
        paths = [out / f"{half}-{number}.mp4" for number in range(films)]
        missing = [(n, path) for n, path in enumerate(paths) if not path.exists()]
        if not missing:
            continue
        heads, grounds = material(half, fixtures, photos)
        for number, path in missing:
            write_film(Film(seed, number, heads, grounds), path)
            print(f"composed {path.name}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    assets = os.environ.get("ROLLCALL_ASSETS") or Path(__file__).resolve().parents[2] / ".assets"
    parser.add_argument("--fixtures", type=Path, default=Path(assets) / "fixtures")
    parser.add_argument("--photos", type=Path, default=Path(assets) / "quality-photos",
                        help="folder with t1.jpg")
    parser.add_argument("--films", type=int, default=2, help="films a half and kind")
    arguments = parser.parse_args()
    compose(arguments.out, arguments.fixtures, arguments.photos, arguments.films)


if __name__ == "__main__":
    try:
        main()
    except (ComposeError, OSError) as problem:
        sys.exit(f"compose_tracks: error: {problem}")
