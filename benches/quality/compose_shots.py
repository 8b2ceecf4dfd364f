#!/usr/bin/env python3
"""Composes films whose cuts and gradual transitions are known to the frame.

    compose_shots.py --out FOLDER [--fixtures FOLDER] [--files N] [--seconds S]

Writes two halves, `dev-N.mp4` and `held-N.mp4`, which share neither pictures, frames, textures nor
seeds: whoever changes a detector looks at the first and reports both. Beside each film lies its
truth, a JSON object: `fps`, `frames`; `cuts`, the first frame behind each hard cut; `gradual`, a
list of [first mixed frame, first frame after, kind], where a fade out and the fade in after it are
one; `events`, what is no transition, as [first, last, kind].

A shot is a picture, a clip or a moving texture under a camera that stands, pans, zooms, shakes or
whips; some have noise, changing light, photographers, captions, or somebody who walks through.
Needs numpy and the program `ffmpeg`. Same arguments, same films, where ffmpeg is the same.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

FPS, WIDTH, HEIGHT = 25, 640, 360
# What each half is made from: pictures, frames of clips [first, last), seed.
HALVES = {
    "dev": {"photos": ["obama.jpg", "coffee.png", "obama_partial_face.jpg"],
            "clips": [("carphone_pristine.mp4", 0, 60), ("bigbuckbunny.mp4", 0, 66)], "seed": 11},
    "held": {"photos": ["obama3.jpg", "biden.jpg", "astronaut.png", "obama2.jpg"],
             "clips": [("carphone_pristine.mp4", 60, 120), ("bigbuckbunny.mp4", 66, 132)],
             "seed": 7_000},
}


class ComposeError(Exception):
    """The films cannot be composed; the text says why."""


def decoded(path, width, height, chain="null", frames=None):
    """Frames of a file as an array (frames, height, width, 3), scaled to cover that size."""
    fit = (f"scale={width}:{height}:force_original_aspect_ratio=increase,"
           f"crop={width}:{height}:(iw-ow)/2:(ih-oh)/4")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-vf", f"{chain},{fit}"]
    command += ["-frames:v", str(frames)] if frames else []
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise ComposeError(f"{path}: {done.stderr.decode(errors='replace').strip()}")
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def clouds(rng, width, height, slope):
    """Noise with a spectrum that falls with frequency, 0 to 255; wraps around at its edges."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    spectrum = np.fft.rfft2(rng.standard_normal((height, width)))
    spectrum /= np.maximum(np.hypot(fx, fy), 2 / width) ** slope
    field = np.fft.irfft2(spectrum, (height, width))
    return np.clip(128 + 52 * (field - field.mean()) / field.std(), 0, 255).astype(np.uint8)


def palette(rng):
    """256 colours between some random ones."""
    stops = rng.integers(0, 256, (4, 3))
    return np.stack([np.interp(np.arange(256), [0, 90, 170, 255], stops[:, c]) for c in range(3)],
                    1).astype(np.uint8)


class Still:
    """One large picture."""

    def __init__(self, canvas):
        # Softened, so that half its pixels are enough to show it from afar.
        soft = (canvas[:-1].astype(np.uint16) + canvas[1:]) >> 1
        self.canvas = ((soft[:, :-1] + soft[:, 1:]) >> 1).astype(np.uint8)
        self.height, self.width = self.canvas.shape[:2]

    def at(self, _k):
        return self.canvas


class Clip:
    """Frames of a film, forth and back."""

    def __init__(self, frames, start=0):
        self.frames, self.start = frames, start
        self.height, self.width = frames.shape[1:3]

    def at(self, k):
        period = 2 * len(self.frames) - 2
        i = (self.start + k) % period
        return self.frames[i if i < len(self.frames) else period - i]


class Texture:
    """Two layers of noise that move over each other, as water or leaves do."""

    def __init__(self, rng):
        self.width, self.height = 768, 432
        self.layers = [clouds(rng, 768, 432, slope) for slope in rng.uniform(0.9, 1.8, 2)]
        self.steps = rng.integers(-4, 5, (2, 2))
        self.palette = palette(rng)

    def at(self, k):
        moved = zip(self.layers, self.steps)
        a, b = (np.roll(layer, tuple(step * k), (0, 1)) for layer, step in moved)
        return self.palette[(a >> 1) + (b >> 1)]


def scenery(rng):
    """A made-up place: clouds in two colours, with shapes before them."""
    canvas = palette(rng)[clouds(rng, 1280, 720, rng.uniform(1.0, 1.8))].copy()
    yy, xx = np.mgrid[0:720, 0:1280]
    for _ in range(int(rng.integers(4, 14))):
        x, y, w, h = (*rng.uniform(0, [1280, 720]), *rng.uniform(30, 260, 2))
        inside = (abs(xx - x) < w / 2) & (abs(yy - y) < h / 2) if rng.random() < 0.5 else \
            ((xx - x) / w) ** 2 + ((yy - y) / h) ** 2 < 0.25
        canvas[inside] = (canvas[inside] * 0.25 + rng.integers(0, 256, 3) * 0.75).astype(np.uint8)
    return canvas


def studio(rng, photos):
    """The same wall with one person after another before it: shots that look alike."""
    wall = palette(rng)[clouds(rng, 1280, 720, 2.0) // 3 + 60]
    places = []
    for photo in photos:
        canvas, x = wall.copy(), int(rng.integers(100, 700))
        canvas[:, x:x + 480] = photo[:720, :480]
        places.append(Still(canvas))
    return places


class Camera:
    """Centre and width of the view of a shot, by frame."""

    def __init__(self, rng, source, frames, near=None):
        self.rng_seed, self.frames = int(rng.integers(1 << 30)), frames
        self.kind = rng.choice(["still", "pan", "zoom", "shake", "whip"], p=[.3, .25, .2, .17, .08])
        widest = min(source.width, source.height * 16 / 9)
        for _ in range(50):
            width = rng.uniform(0.45, 1.0) * widest
            self.start = self._inside(rng, source, width)
            if near is None or self._differs(near):
                break
        self.end = self.start
        if self.kind == "pan":
            self.end = self._inside(rng, source, width * rng.uniform(0.9, 1.0))
        elif self.kind == "zoom":
            width = np.clip(width * rng.choice([0.6, 1.6]), 0.4 * widest, widest)
            self.end = self._inside(rng, source, width)
        elif self.kind == "whip":
            half, y = min(width, 0.5 * widest) / 2, source.height / 2
            ends = [(half, y, 2 * half), (source.width - half, y, 2 * half)]
            self.start, self.end = ends[:: int(rng.choice([-1, 1]))]
            self.whip = (int(rng.integers(8, max(9, frames - 20))), int(rng.integers(5, 11)))
        shakes = self.kind == "shake"
        wobble = rng.standard_normal((frames + 60, 2)) * (rng.uniform(3, 9) if shakes else 0)
        kernel = np.hanning(7) / np.hanning(7).sum()
        self.wobble = np.stack([np.convolve(wobble[:, c], kernel, "same") for c in (0, 1)], 1)

    @staticmethod
    def _inside(rng, source, width):
        x = rng.uniform(width / 2, max(source.width - width / 2, width / 2 + 1e-3))
        y = rng.uniform(width * 9 / 32, max(source.height - width * 9 / 32, width * 9 / 32 + 1e-3))
        return x, y, width

    def _differs(self, near):
        """Whether a cut from that view to this one is one that a viewer sees."""
        (x, y, w), (x0, y0, w0) = self.start, near
        return max(w / w0, w0 / w) > 1.35 or np.hypot(x - x0, y - y0) > 0.3 * w0

    def at(self, k):
        share = k / max(self.frames - 1, 1)
        if self.kind == "whip":
            share = np.clip((k - self.whip[0]) / self.whip[1], 0, 1)
        x, y, w = (a + (b - a) * share for a, b in zip(self.start, self.end))
        low = int(np.clip(k, 0, len(self.wobble) - 2))
        dx, dy = self.wobble[low] + (self.wobble[low + 1] - self.wobble[low]) * (k - low)
        return x + dx * w / WIDTH, y + dy * w / WIDTH, w

    def view(self, canvas, k):
        """The picture, with what moves while the shutter is open blurred."""
        fast = self.kind == "whip" and self.whip[0] <= k <= self.whip[0] + self.whip[1]
        count = 8 if fast else 1
        total = np.zeros((HEIGHT, WIDTH, 3), np.uint16)
        for part in range(count):
            x, y, w = self.at(k + part / count * 0.7)
            step, offset = w / WIDTH, part / count
            xs = x + (np.arange(WIDTH) - WIDTH / 2 + offset) * step
            ys = y + (np.arange(HEIGHT) - HEIGHT / 2 + offset) * step
            xs, ys = np.clip(xs, 0, canvas.shape[1] - 1), np.clip(ys, 0, canvas.shape[0] - 1)
            total += canvas.take(ys.astype(int), 0).take(xs.astype(int), 1)
        return (total // count).astype(np.uint8)


class Shot:
    """A source under a camera, and what else goes on."""

    def __init__(self, rng, source, frames, near=None):
        self.source, self.frames, self.camera = source, frames, Camera(rng, source, frames, near)
        self.events = [self.camera.kind] if self.camera.kind != "still" else []
        self.gain = np.ones(frames + 2)
        self.flash = np.zeros(frames + 2)
        self.noise = rng.uniform(1, 6) if rng.random() < 0.4 else 0
        self.grain = rng.standard_normal((2 * HEIGHT, WIDTH, 1), np.float32) * self.noise
        self.grain_rows = rng.integers(0, HEIGHT, frames + 2)
        self.caption = self.passer = self.lamp = None
        extra = rng.choice(["none", "flash", "ramp", "switch", "flicker", "caption", "passer"],
                           p=[.4, .14, .08, .04, .06, .13, .15])
        if extra != "none":
            self.events.append(str(extra))
            getattr(self, f"_{extra}")(rng)

    def _flash(self, rng):
        for start in rng.integers(6, max(7, self.frames - 8), int(rng.integers(1, 5))):
            fall = np.array([1, 1, 0.5, 0.2] if rng.random() < 0.3 else [1, 0.35, 0.1])
            fall = fall * rng.uniform(0.4, 0.9)
            part = self.flash[start:start + len(fall)]
            part[:] = np.maximum(part, fall[:len(part)])
        x, y = rng.uniform(0, [WIDTH, HEIGHT])
        far = np.hypot(np.arange(WIDTH)[None, :] - x, np.arange(HEIGHT)[:, None] - y) / WIDTH
        self.lamp = (1 / (1 + far * far))[:, :, None].astype(np.float32)

    def _ramp(self, rng):
        start, length = int(rng.integers(0, self.frames // 2)), int(rng.integers(10, 45))
        ends = rng.permutation([1, rng.uniform(0.45, 0.7)])
        self.gain = np.interp(np.arange(self.frames + 2), [start, start + length], ends)

    def _switch(self, rng):
        self.gain[int(rng.integers(8, self.frames - 8)):] = rng.uniform(0.55, 0.75)

    def _flicker(self, rng):
        depth, speed = rng.uniform(0.08, 0.25), rng.uniform(0.4, 2.5)
        self.gain = 1 - depth * (1 + np.sin(np.arange(self.frames + 2) * speed)) / 2

    def _caption(self, rng):
        glyphs = np.kron(rng.random((5, 420)) < 0.5, np.ones((6, 5))).astype(bool)
        shown = sorted(rng.integers(0, self.frames, 2))
        speed, y = int(rng.choice([0, 3, 6])), int(rng.integers(230, 320))
        self.caption = (glyphs, speed, y, shown, int(rng.choice([0, 255])))

    def _passer(self, rng):
        size = rng.uniform(0.5, 1.3) * HEIGHT
        skin = palette(rng)[clouds(rng, 512, 512, 1.5)]
        speed, way = rng.uniform(8, 45), int(rng.choice([-1, 1]))
        start = int(rng.integers(0, max(1, self.frames // 2)))
        self.passer = (skin, size, speed, way, start)

    def frame(self, k):
        image = self.camera.view(self.source.at(k), k)
        if self.passer:
            self._draw_passer(image, k)
        if self.caption:
            glyphs, speed, y, shown, ink = self.caption
            if shown[0] <= k <= shown[1]:
                band = image[y:y + 40]
                band[:] = band // 2 + (0 if ink else 128)
                band[5:35, 20:-20][np.roll(glyphs, -speed * k, 1)[:, :WIDTH - 40]] = ink
        level, flash = self.gain[k], self.flash[k]
        if level != 1 or flash or self.noise:
            value = image.astype(np.float32) * level
            if flash:
                value += (value * 1.5 + 150) * (self.lamp * flash)
            if self.noise:
                value += self.grain[self.grain_rows[k]:][:HEIGHT]
            image = np.clip(value, 0, 255).astype(np.uint8)
        return image

    def _draw_passer(self, image, k):
        skin, size, speed, way, start = self.passer
        x = -size / 2 + (k - start) * speed
        x = x if way > 0 else WIDTH - x
        left, right = int(max(0, x - size / 3)), int(min(WIDTH, x + size / 3))
        if k < start or left >= right:
            return
        xx, yy = np.arange(left, right)[None, :], np.arange(HEIGHT)[:, None]
        inside = ((xx - x) / (size / 3)) ** 2 + ((yy - HEIGHT * 0.55) / (size / 1.8)) ** 2 < 1
        patch = skin[(yy % 512), (xx - int(x)) % 512]
        image[:, left:right][inside] = patch[inside]


class Material:
    """The sources of one half."""

    def __init__(self, half, fixtures):
        plan = HALVES[half]
        photos = [decoded(fixtures / name, 1280, 720)[0] for name in plan["photos"]]
        faces = [decoded(fixtures / name, 480, 720)[0] for name in plan["photos"]]
        rng = np.random.default_rng(plan["seed"])
        self.groups = [[Still(photo)] for photo in photos]
        self.groups += [studio(rng, faces) for _ in range(2)]
        self.groups += [[Still(scenery(rng))] for _ in range(8)]
        self.groups += [[Texture(rng)] for _ in range(3)]
        for name, first, last in plan["clips"]:
            size = (640, 360) if name.startswith("carphone") else (960, 540)
            frames = decoded(fixtures / name, *size, frames=last)[first:]
            self.groups += [[Clip(frames, start) for start in (0, len(frames) // 2)]] * 3
        self.seed = plan["seed"]


def film(material, number, seconds):
    """Shots, each with the transition to the next: (kind,), or (kind, frames at the end of this
    shot, ..., frames at the start of the next, colour)."""
    rng = np.random.default_rng([material.seed, number])
    parts, total, group, shot = [], 0, None, None
    while total < seconds * FPS:
        frames = int(rng.integers(26, 80))
        alike = shot is not None and parts[-1][1][0] == "cut" and rng.random() < 0.4
        if not alike:
            others = [g for g in material.groups if g is not group]
            group = others[int(rng.integers(len(others)))]
        source = group[int(rng.integers(len(group)))]
        near = shot.camera.at(shot.frames - 1) if alike else None
        kind = rng.choice(["cut", "dissolve", "fade"], p=[0.58, 0.28, 0.14])
        if kind == "dissolve":
            transition = ("dissolve", *[int(rng.integers(8, 51))] * 2, 0)
        elif kind == "fade":
            transition = ("fade", int(rng.integers(6, 26)), int(rng.integers(0, 13)),
                          int(rng.integers(6, 26)), int(rng.choice([0, 0, 0, 255])))
        else:
            transition = ("cut",)
        # Transitions come on top, so that each shot stands alone for a second.
        frames += parts[-1][1][-2] if parts and len(parts[-1][1]) > 1 else 0
        frames += transition[1] if len(transition) > 1 else 0
        shot = Shot(rng, source, frames, near)
        parts.append((shot, transition))
        total += frames
    return parts


def played(parts):
    """The frames of a film in order, and its truth."""
    truth = {"fps": FPS, "frames": 0, "cuts": [], "gradual": [], "events": []}

    def frames():
        at, skip = 0, 0
        for number, (shot, transition) in enumerate(parts):
            following = parts[number + 1][0] if number + 1 < len(parts) else None
            kind = transition[0] if following else "end"
            mixed = transition[1] if kind == "dissolve" else 0
            truth["events"] += [[at, at + shot.frames - skip, event] for event in shot.events]
            fade_in = parts[number - 1][1] if number and parts[number - 1][1][0] == "fade" else None
            for k in range(skip, shot.frames - mixed):
                image, level, colour = shot.frame(k), 1.0, 0
                if fade_in and k < fade_in[3]:
                    level, colour = (k + 1) / (fade_in[3] + 1), fade_in[4]
                if kind == "fade" and shot.frames - k <= transition[1]:
                    out = (shot.frames - k) / (transition[1] + 1)
                    level, colour = min(level, out), transition[4]
                yield image if level == 1 else mix(np.full_like(image, colour), image, level)
            at += shot.frames - mixed - skip
            skip = mixed
            if kind == "cut":
                truth["cuts"].append(at)
            elif kind == "dissolve":
                truth["gradual"].append([at, at + mixed, "dissolve"])
                for k in range(mixed):
                    old, new = shot.frame(shot.frames - mixed + k), following.frame(k)
                    yield mix(old, new, (k + 1) / (mixed + 1))
                at += mixed
            elif kind == "fade":
                _, out, hold, back, colour = transition
                truth["gradual"].append([at - out, at + hold + back, "fade"])
                for _ in range(hold):
                    yield np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
                at += hold
        truth["frames"] = at

    return frames(), truth


def mix(a, b, share):
    share = np.uint16(round(share * 256))
    return ((a * (np.uint16(256) - share) + b * share) >> 8).astype(np.uint8)


def write(parts, path):
    """Encodes a film and writes its truth."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
               "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "-", "-c:v", "libx264", "-preset",
               "superfast", "-crf", "23", "-pix_fmt", "yuv420p", "-g", "125"]
    command += ["-f", "mp4", f"{path}.part"]
    images, truth = played(parts)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        for image in images:
            encoder.stdin.write(image.tobytes())
        encoder.stdin.close()
    if encoder.returncode != 0:
        raise ComposeError(f"ffmpeg failed (exit {encoder.returncode})")
    path.with_suffix(".json").write_text(json.dumps(truth) + "\n", encoding="utf-8")
    os.replace(f"{path}.part", path)
    return truth


def compose(out, fixtures, files, seconds):
    """Makes the films that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    for half in HALVES:
        paths = [out / f"{half}-{number}.mp4" for number in range(files)]
        if all(path.exists() for path in paths):
            continue
        material = Material(half, fixtures)
        for number, path in enumerate(paths):
            truth = write(film(material, number, seconds), path)
            print(f"{path.name}: {truth['frames']} frames, {len(truth['cuts'])} cuts, "
                  f"{len(truth['gradual'])} gradual", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    assets = os.environ.get("ROLLCALL_ASSETS") or Path(__file__).resolve().parents[2] / ".assets"
    parser.add_argument("--fixtures", type=Path, default=Path(assets) / "fixtures")
    parser.add_argument("--files", type=int, default=5, help="films a half")
    parser.add_argument("--seconds", type=float, default=80, help="length of a film, at least")
    arguments = parser.parse_args()
    compose(arguments.out, arguments.fixtures, arguments.files, arguments.seconds)


if __name__ == "__main__":
    try:
        main()
    except (ComposeError, OSError) as problem:
        sys.exit(f"compose_shots: error: {problem}")
