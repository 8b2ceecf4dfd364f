#!/usr/bin/env python3
"""Composes the demo clip from the fixtures and writes down who is on screen when.

    compose.py --out clip.mp4 --truth truth.json [--small] [--fixtures FOLDER]

Standard library only; drives the `ffmpeg` program. The truth is exact to the frame:

- `fps`, `size` ([width, height] in pixels), `duration_s`
- `people`: `name` and `intervals`, each [start_s, end_s) of frames that show the person; intervals
  that touch are one, also across a cut. In a dissolve a person is there from half opacity on.
- `cuts`: time of the first frame behind each hard cut; `dissolves`: [start_s, end_s) of each
- `held_out`: pictures of the people that are not in the clip (`person`, `image`); `stranger`: a
  picture of somebody else. They are written beside the truth; paths are relative to its folder.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

FPS = 25
WIDTH, HEIGHT = 640, 360
# Photos move on a canvas four times the clip's size, so that a movement has no visible steps.
CANVAS_WIDTH, CANVAS_HEIGHT = 4 * WIDTH, 4 * HEIGHT
# The talking head shows frames 0 to 89; a held-out picture comes from the 30 behind them.
HEAD_FRAMES, HEAD_HELD_OUT = 90, 112

OBAMA, BIDEN, HEAD = "Barack Obama", "Joe Biden", "carphone speaker"

# Photo, its upper part that is shown [width, height, first row], person.
PHOTOS = {
    "obama": ("obama.jpg", (910, 1137, 0), OBAMA),
    "obama2": ("obama2.jpg", (626, 1100, 60), OBAMA),
    "biden": ("biden.jpg", (970, 1300, 0), BIDEN),
}


class ComposeError(Exception):
    """The clip cannot be composed; the text says why."""


def ffmpeg(*arguments):
    """Runs ffmpeg, quiet unless it fails."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ComposeError("ffmpeg is not installed: run `make setup`") from error
    if done.returncode != 0:
        raise ComposeError(f"ffmpeg failed (exit {done.returncode}): {done.stderr.strip()}")


# Every shot is lossless until the one encode at the end.
LOSSLESS = ["-an", "-r", FPS, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-qp", 0]
LOSSLESS += ["-preset", "ultrafast"]


def studio(color, panel):
    """A plain studio wall with a lighter panel, as the filter chain of one canvas."""
    return (
        f"color=c={color}:s={CANVAS_WIDTH}x{CANVAS_HEIGHT}:r={FPS}:d={1 / FPS},format=yuv444p,"
        f"drawbox=x=0:y=1180:w=iw:h=260:color={panel}@0.6:t=fill,"
        f"drawbox=x=0:y=1150:w=iw:h=12:color=white@0.5:t=fill"
    )


def camera(start, end, frames):
    """A camera movement over the canvas as a zoompan filter.

    A position is (centre x, centre y, width of the view) in canvas pixels.
    """
    share = f"(on/{max(frames - 1, 1)})"
    x, y, width = (f"({a}+({b}-{a})*{share})" for a, b in zip(start, end))
    return (
        f"zoompan=z='{CANVAS_WIDTH}/{width}':x='{x}-iw/zoom/2':y='{y}-ih/zoom/2'"
        f":d={frames}:s={WIDTH}x{HEIGHT}:fps={FPS}"
    )


class Photos:
    """A shot of one or more photos on a studio wall, under a moving camera."""

    def __init__(self, seconds, placed, start, end, wall=("0x31445c", "0x6d86a3")):
        """`placed`: [(photo, x of its left edge)], each photo as high as the canvas."""
        self.frames = round(seconds * FPS)
        self.placed, self.start, self.end, self.wall = placed, start, end, wall
        self.people = [PHOTOS[photo][2] for photo, _ in placed]

    def canvas(self, fixtures):
        """(inputs, filter chain that ends in [canvas])."""
        inputs, chain, last = [], f"{studio(*self.wall)}[c0]", "c0"
        for at, (photo, x) in enumerate(self.placed):
            name, (width, height, row), _ = PHOTOS[photo]
            inputs += ["-i", os.path.join(fixtures, name)]
            chain += (
                f";[{at}:v]crop={width}:{height}:0:{row},scale=-2:{CANVAS_HEIGHT}:flags=lanczos"
                f",format=yuv444p[p{at}];[{last}][p{at}]overlay={x}:0:format=yuv444[c{at + 1}]"
            )
            last = f"c{at + 1}"
        return inputs, f"{chain};[{last}]null[canvas]"

    def render(self, fixtures, out):
        """Writes the shot."""
        inputs, chain = self.canvas(fixtures)
        chain += f";[canvas]{camera(self.start, self.end, self.frames)}[v]"
        ffmpeg(
            *inputs, "-filter_complex", chain, "-map", "[v]", "-frames:v", self.frames, *LOSSLESS, out
        )


# The talking head forth and back, so that it can run for seven seconds.
FORTH_AND_BACK = (
    f"trim=end_frame={HEAD_FRAMES},settb=1/{FPS},setpts=N,split[h0][h1];"
    "[h1]reverse,setpts=N[h2];[h0][h2]concat=n=2:v=1"
)


class TalkingHead:
    """The talking head alone; `view` crops its 176x144 frames (wide pixels, 4:3 on screen)."""

    def __init__(self, seconds, view=None):
        self.frames = round(seconds * FPS)
        self.view, self.people = view, [HEAD]

    def render(self, fixtures, out):
        """Writes the shot."""
        if self.view:
            fit = f"crop={self.view},scale={WIDTH}:{HEIGHT}:flags=lanczos"
        else:
            fit = f"scale=480:{HEIGHT}:flags=lanczos,pad={WIDTH}:{HEIGHT}:80:0:color=0x202830"
        chain = f"[0:v]{FORTH_AND_BACK},{fit},setsar=1[v]"
        head = os.path.join(fixtures, "carphone_pristine.mp4")
        ffmpeg(
            "-i", head, "-filter_complex", chain, "-map", "[v]",
            "-frames:v", self.frames, *LOSSLESS, out,
        )


class Interview(Photos):
    """The talking head in a window on the left, a photo on the right."""

    def __init__(self, seconds, placed, start, end, wall):
        super().__init__(seconds, placed, start, end, wall)
        self.people = [HEAD, *self.people]

    def render(self, fixtures, out):
        """Writes the shot."""
        inputs, chain = self.canvas(fixtures)
        head = len(self.placed)
        chain += (
            f";[canvas]{camera(self.start, self.end, self.frames)},setsar=1[back]"
            f";[{head}:v]{FORTH_AND_BACK},scale=320:240:flags=lanczos,setsar=1[head]"
            f";[back][head]overlay=24:60[v]"
        )
        inputs += ["-i", os.path.join(fixtures, "carphone_pristine.mp4")]
        ffmpeg(
            *inputs, "-filter_complex", chain, "-map", "[v]", "-frames:v", self.frames, *LOSSLESS, out
        )


class Footage:
    """Footage without faces: the whole picture, or a part of it that the camera pans over.

    The detector takes the animal's head for a face now and then; neither variant shows a frame
    where it does.
    """

    def __init__(self, seconds, pan=False):
        self.frames, self.pan, self.people = round(seconds * FPS), pan, []

    def render(self, fixtures, out):
        """Writes the shot."""
        clock = f"settb=1/{FPS},setpts=N"
        if self.pan:
            view = f"trim=end_frame=100,{clock},crop=720:405:560-n:150,scale={WIDTH}:{HEIGHT},hflip"
        else:
            view = (
                f"trim=start_frame=56:end_frame=101,{clock},scale={WIDTH}:{HEIGHT},split[f0][f1];"
                "[f1]reverse,setpts=N[f2];[f0][f2]concat=n=2:v=1"
            )
        source = os.path.join(fixtures, "bigbuckbunny.mp4")
        chain = f"[0:v]{view},setsar=1[v]"
        ffmpeg(
            "-i", source, "-filter_complex", chain, "-map", "[v]",
            "-frames:v", self.frames, *LOSSLESS, out,
        )


class Black:
    """Nothing at all."""

    def __init__(self, seconds):
        self.frames, self.people = round(seconds * FPS), []

    def render(self, _fixtures, out):
        """Writes the shot."""
        source = f"color=c=black:s={WIDTH}x{HEIGHT}:r={FPS}"
        ffmpeg("-f", "lavfi", "-i", source, "-frames:v", self.frames, *LOSSLESS, out)


class Dissolve:
    """Stands between two shots that overlap by so many frames."""

    def __init__(self, seconds):
        self.frames = round(seconds * FPS)


GREEN, WINE = ("0x2f5245", "0x7fa08f"), ("0x4d2f3b", "0x99707f")


def full_plan():
    """The demo: 64 seconds, three people, thirteen shots."""
    return [
        Photos(6, [("obama", 700)], (1280, 720, 2400), (1300, 560, 1600)),
        Footage(3.6),
        Photos(5, [("biden", 800)], (1430, 640, 1700), (1400, 560, 2200), GREEN),
        TalkingHead(6),
        Photos(6, [("obama2", 150), ("biden", 1400)], (1280, 720, 2520), (1310, 640, 2100), WINE),
        # The faces stand apart, so that each fades on its own. The detector finds a face from a
        # tenth of opacity on: a dissolve much longer than this would make the truth ambiguous.
        Photos(5, [("obama2", 300)], (1000, 560, 1900), (1240, 620, 2200), GREEN),
        Dissolve(0.44),
        Photos(6, [("biden", 1300)], (1400, 680, 2300), (1800, 520, 1500)),
        Footage(3, pan=True),
        Interview(6, [("obama", 1500)], (1380, 720, 2360), (1420, 660, 2200), WINE),
        Photos(6, [("obama", 300)], (820, 520, 1450), (1100, 600, 2200), GREEN),
        Black(1.6),
        TalkingHead(6, "162:100:0:14"),
        Photos(5, [("biden", 900)], (1500, 560, 1500), (1500, 600, 1900), WINE),
    ]


def small_plan():
    """The clip for tests: 14 seconds, three people, the first of them twice, four cuts."""
    return [
        Photos(3, [("obama", 700)], (1280, 660, 2200), (1300, 560, 1700)),
        TalkingHead(3),
        Footage(2),
        Photos(4, [("obama2", 150), ("biden", 1400)], (1280, 720, 2520), (1310, 640, 2200), WINE),
        Photos(2, [("biden", 800)], (1430, 640, 1700), (1400, 560, 2000), GREEN),
    ]


def merged(intervals):
    """Intervals in frames, those that touch made one."""
    out = []
    for start, end in sorted(intervals):
        if out and start <= out[-1][1]:
            out[-1][1] = max(out[-1][1], end)
        else:
            out.append([start, end])
    return out


def truth_of(plan):
    """Who is on screen when, cuts, dissolves, all in frames, and the number of frames."""
    intervals, cuts, dissolves = {}, [], []
    at, overlap = 0, 0
    for index, shot in enumerate(plan):
        if isinstance(shot, Dissolve):
            overlap = shot.frames
            dissolves.append([at - overlap, at])
            continue
        start = at - overlap
        if index and not overlap:
            cuts.append(start)
        end = start + shot.frames
        # In frame k of an overlap of n the new shot has the opacity k/n; n is odd, so no frame
        # is at exactly one half.
        visible_from = start + (overlap + 1) // 2
        following = plan[index + 1] if index + 1 < len(plan) else None
        fade = following.frames if isinstance(following, Dissolve) else 0
        visible_to = end - fade + (fade + 1) // 2
        for person in shot.people:
            intervals.setdefault(person, []).append((visible_from, visible_to))
        at, overlap = end, 0
    return {name: merged(found) for name, found in intervals.items()}, cuts, dissolves, at


def seconds(frame):
    """A frame's time."""
    return round(frame / FPS, 3)


def render(plan, fixtures, out):
    """Renders all shots and joins them."""
    with tempfile.TemporaryDirectory(prefix="rollcall-demo-") as folder:
        parts = []
        for index, shot in enumerate(plan):
            if isinstance(shot, Dissolve):
                continue
            part = os.path.join(folder, f"{index:02}.mp4")
            shot.render(fixtures, part)
            before = plan[index - 1] if index else None
            if isinstance(before, Dissolve):
                earlier = parts.pop()
                offset = (plan[index - 2].frames - before.frames) / FPS
                fade = f"xfade=transition=fade:duration={before.frames / FPS}:offset={offset}"
                joined = os.path.join(folder, f"{index:02}-joined.mp4")
                ffmpeg(
                    "-i", earlier, "-i", part, "-filter_complex", f"[0:v][1:v]{fade}[v]",
                    "-map", "[v]", *LOSSLESS, joined,
                )
                part = joined
            parts.append(part)
        listed = os.path.join(folder, "parts.txt")
        with open(listed, "w", encoding="utf-8") as file:
            file.writelines(f"file '{part}'\n" for part in parts)
        ffmpeg(
            "-f", "concat", "-safe", 0, "-i", listed, "-an", "-vf", f"settb=1/{FPS},setpts=N",
            "-r", FPS, "-c:v", "libx264", "-preset", "veryfast", "-crf", 18, "-pix_fmt", "yuv420p",
            "-movflags", "+faststart", "-f", "mp4", f"{out}.part",
        )
    os.replace(f"{out}.part", out)


def held_out(fixtures, folder):
    """Writes the pictures to search with; returns their part of the truth."""
    wanted = [
        (OBAMA, "query-obama.jpg", "obama3.jpg", "crop=1434:1500:0:0,scale=640:-2"),
        (BIDEN, "query-biden.jpg", "biden.jpg", "crop=970:1100:0:0,hflip,scale=436:-2"),
        (HEAD, "query-carphone.jpg", "carphone_pristine.mp4",
         f"select=eq(n\\,{HEAD_HELD_OUT}),scale=480:360:flags=lanczos,setsar=1"),
        (None, "query-stranger.jpg", "astronaut.png", "null"),
    ]
    for _, name, source, chain in wanted:
        ffmpeg(
            "-i", os.path.join(fixtures, source), "-vf", chain, "-frames:v", 1, "-update", 1,
            "-pix_fmt", "yuvj420p", "-q:v", 2, os.path.join(folder, name),
        )
    found = [{"person": person, "image": name} for person, name, _, _ in wanted if person]
    return found, "query-stranger.jpg"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="the clip, an .mp4 file")
    parser.add_argument("--truth", required=True, help="who is on screen when, a .json file")
    parser.add_argument("--small", action="store_true", help="the 14-second clip for tests")
    here = os.path.dirname(os.path.abspath(__file__))
    default = os.path.join(os.path.dirname(os.path.dirname(here)), ".assets")
    default = os.path.join(os.environ.get("ROLLCALL_ASSETS") or default, "fixtures")
    parser.add_argument("--fixtures", default=default, help="folder of the fixtures")
    args = parser.parse_args()

    plan = small_plan() if args.small else full_plan()
    folder = os.path.dirname(os.path.abspath(args.truth))
    os.makedirs(folder, exist_ok=True)
    os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
    render(plan, args.fixtures, args.out)
    intervals, cuts, dissolves, frames = truth_of(plan)
    pictures, stranger = held_out(args.fixtures, folder)
    people = [
        {"name": name, "intervals": [[seconds(a), seconds(b)] for a, b in found]}
        for name, found in intervals.items()
    ]
    truth = {
        "fps": FPS,
        "size": [WIDTH, HEIGHT],
        "duration_s": seconds(frames),
        "people": people,
        "cuts": [seconds(cut) for cut in cuts],
        "dissolves": [[seconds(a), seconds(b)] for a, b in dissolves],
        "held_out": pictures,
        "stranger": stranger,
    }
    with open(f"{args.truth}.part", "w", encoding="utf-8") as file:
        json.dump(truth, file, indent=1)
        file.write("\n")
    os.replace(f"{args.truth}.part", args.truth)
    print(f"{args.out}: {seconds(frames)} s, {len(people)} people, {len(cuts)} cuts")


if __name__ == "__main__":
    try:
        main()
    except (ComposeError, OSError) as problem:
        sys.exit(f"compose: error: {problem}")
