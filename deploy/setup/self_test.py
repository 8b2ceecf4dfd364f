#!/usr/bin/env python3
"""Computes a manifest's [self_test] table, for whoever adds a model. Not part of set-up.

Needs PyPI onnxruntime and numpy, best in a folder of their own:

    pip install --target /somewhere/py onnxruntime==1.24.4 numpy
    PYTHONPATH=/somewhere/py python3 deploy/setup/self_test.py MODEL.onnx --kind embedder \\
        --input input --outputs output --channels BGR --mean 127.5 --std 127.5 --size 112x112
    (or --check MANIFEST.toml, which only compares)

The picture is the pattern "lcg-1": byte i of an 8-bit RGB picture, rows from the top, is the top
byte of i * 2654435761 modulo 2^32. It goes through the model's own preprocessing. An embedder's
output is written L2-normalised; a detector's outputs are written flat, every `stride`-th value; a
classifier's outputs are written one after the other, as one list.
"""

import argparse
import sys

import numpy as np
import onnxruntime as ort

# Longer outputs are thinned, to keep the manifest readable.
VALUES_MAX = 512


def pattern(width, height):
    """The picture "lcg-1" as float32, height x width x RGB."""
    at = np.arange(width * height * 3, dtype=np.uint64)
    bytes_ = ((at * 2654435761) & 0xFFFFFFFF) >> 24
    return bytes_.astype(np.float32).reshape(height, width, 3)


def preprocess(picture, channels, mean, std):
    """One picture as the model's NCHW tensor; mean and std are in the model's channel order."""
    if channels == "BGR":
        picture = picture[:, :, ::-1]
    if channels == "GREY":  # BT.601, for landmark models
        picture = (picture @ np.float32([0.299, 0.587, 0.114]))[:, :, None]
        mean, std = mean[:1], std[:1]
    picture = (picture - np.float32(mean)) / np.float32(std)
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32)


def run(model, name, outputs, tensor):
    """The named outputs, each flat."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [out.ravel().astype(np.float64) for out in session.run(outputs, {name: tensor})]


def thin(values):
    """(stride, every stride-th value)."""
    stride = -(-len(values) // VALUES_MAX)
    return stride, values[::stride]


def lines(values, width=96):
    """Values with four significant decimals, as lines of a TOML array."""
    out, line = [], ""
    for value in values:
        word = f"{float(f'{value:.4g}')!r},"
        if len(line) + len(word) + 1 > width:
            out.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return out + [line]


def compute(model, kind, name, outputs, channels, mean, std, width, height):
    """[(stride, values)] for each output."""
    flat = run(model, name, outputs, preprocess(pattern(width, height), channels, mean, std))
    if kind == "embedder":
        flat = [values / np.linalg.norm(values) for values in flat]
        return [(1, values) for values in flat]
    if kind == "classifier":
        return [(1, np.concatenate(flat))]
    return [thin(values) for values in flat]


def render(found, width, height):
    """The [self_test] table as TOML."""
    text = ["[self_test]", 'pattern = "lcg-1"', f"width = {width}", f"height = {height}"]
    text.append(f"strides = {[stride for stride, _ in found]}")
    text.append("min_cosine = 0.999")
    text.append("expected = [")
    for _, values in found:
        text += ["  ["] + [f"    {line}" for line in lines(values)] + ["  ],"]
    return "\n".join(text + ["]"])


def check(path, model):
    """Compares a manifest's expected values with what the model gives now."""
    import tomllib

    with open(path, "rb") as file:
        manifest = tomllib.load(file)
    given, test, kind = manifest["input"], manifest["self_test"], manifest["model"]["kind"]
    output = manifest["output"]
    if kind == "classifier":
        outputs = [name for value in output["attributes"] for name in value["tensors"]]
    else:
        outputs = output["names"] if kind == "detector" else [output["name"]]
    channels, mean, std = given.get("channels", "GREY"), given["mean"], given["std"]
    if not isinstance(mean, list):
        mean, std = [mean] * 3, [std] * 3
    found = compute(
        model, kind, given["name"], outputs, channels, mean, std,
        test["width"], test["height"],
    )
    good = True
    for name, (stride, values), want_stride, want in zip(
        ["all"] if kind == "classifier" else outputs, found, test["strides"], test["expected"], strict=True
    ):
        want = np.array(want)
        cosine = values @ want / np.linalg.norm(values) / np.linalg.norm(want)
        good &= stride == want_stride and cosine >= test["min_cosine"]
        print(f"{path}: output {name}: {len(want)} values, stride {stride}, cosine {cosine:.6f}")
    return good


def numbers(text):
    """`104,117,123`, or one number for all channels."""
    values = [float(part) for part in text.split(",")]
    return values * 3 if len(values) == 1 else values


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--check", metavar="MANIFEST")
    parser.add_argument("--kind", choices=["embedder", "detector", "landmarks", "classifier"])
    parser.add_argument("--input")
    parser.add_argument("--outputs", help="names, separated by commas")
    parser.add_argument("--channels", choices=["RGB", "BGR", "GREY"])
    parser.add_argument("--mean", type=numbers, default=[0.0] * 3, help="one number or three")
    parser.add_argument("--std", type=numbers, default=[1.0] * 3, help="one number or three")
    parser.add_argument("--size", default="64x64")
    args = parser.parse_args()
    if args.check:
        sys.exit(0 if check(args.check, args.model) else 1)
    width, height = (int(side) for side in args.size.split("x"))
    found = compute(
        args.model, args.kind, args.input, args.outputs.split(","), args.channels,
        args.mean, args.std, width, height,
    )
    print(render(found, width, height))


if __name__ == "__main__":
    main()
