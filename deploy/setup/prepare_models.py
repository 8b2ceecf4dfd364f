"""Makes a published ONNX model ready for Rollcall. Deterministic, standard library only.

What it changes, and why:
- Batch (and, for a detector, image) dimensions become symbols, in inputs and outputs alike:
  CenterFace is published for [10,3,32,32], MobileFaceNet for one face at a time.
- Reshape targets that were frozen to batch 1 follow the batch.
- Initialisers leave the list of graph inputs: listed there they may be overridden, so that
  ONNX Runtime warns about each and cannot fold or fuse them.
- Subnormal weights become zero: they change no result and cost a factor of ten in time on CPUs
  that handle them in microcode.
- Initialisers that no node reads leave as well (counters of the training framework): ONNX Runtime
  would warn about each of them.
- Stored shapes of intermediate values go, as they contradict the new dimensions.

Usage: prepare_model.py IN.onnx OUT.onnx --input NAME=batch,3,rows,cols --output NAME=batch,512 ...
"""

import argparse
import array
import os
import sys

import onnx_wire as wire
from onnx_wire import BYTES, VARINT

# Field numbers of onnx.proto3 (ONNX 1.x; they never change).
MODEL_IR, MODEL_GRAPH = 1, 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO = 1, 5, 11, 12, 13
NODE_INPUT, NODE_OP, NODE_ATTRIBUTE = 1, 4, 5
ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS = 6, 11
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_INT64S, TENSOR_NAME, TENSOR_RAW = 1, 2, 4, 7, 8, 9
FLOAT, INT64 = 1, 7
VALUE_NAME, VALUE_TYPE = 1, 2
# From this version on an initialiser need not be a graph input.
IR_FREE_INITIALISERS = 4


class PrepareError(Exception):
    """The model cannot be made ready; the text says why."""


def value_info(name, shape):
    """A float tensor's ValueInfoProto; a shape entry is an int or a symbol's name."""
    dims = []
    for dim in shape:
        if isinstance(dim, int):
            body = [(1, VARINT, dim)]
        else:
            body = [(2, BYTES, dim.encode())]
        dims.append((1, BYTES, wire.message(body)))
    tensor = wire.message([(1, VARINT, FLOAT), (2, BYTES, wire.message(dims))])
    kind = wire.message([(1, BYTES, tensor)])
    return wire.message([(VALUE_NAME, BYTES, name.encode()), (VALUE_TYPE, BYTES, kind)])


def flush_floats(raw):
    """Returns (little-endian float32 bytes without subnormals, how many there were)."""
    words = array.array("I", raw)
    if words.itemsize != 4:
        raise PrepareError("this Python's array type 'I' is not 32 bits wide")
    if sys.byteorder == "big":
        words.byteswap()
    count = 0
    for at, word in enumerate(words):
        # Exponent zero with a non-zero mantissa; the sign stays, as the hardware keeps it.
        if not word & 0x7F800000 and word & 0x007FFFFF:
            words[at] = word & 0x80000000
            count += 1
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes(), count


def flush_tensor(body):
    """Flushes one TensorProto, returns (bytes, subnormals found)."""
    items = wire.fields(body)
    if wire.first(items, TENSOR_TYPE) != FLOAT:
        return body, 0
    total = 0
    for at, (number, kind, value) in enumerate(items):
        if number in (TENSOR_RAW, TENSOR_FLOATS) and kind != VARINT:
            value, count = flush_floats(value)
            items[at] = (number, kind, value)
            total += count
    return wire.message(items), total


def free_reshape(body):
    """A Reshape target [1, ...] follows the batch: [0, ...], where 0 copies the input's size."""
    items = wire.fields(body)
    if wire.first(items, TENSOR_TYPE) != INT64:
        raise PrepareError("a Reshape target is not of type int64")
    raw = wire.first(items, TENSOR_RAW)
    if raw is None or len(raw) < 8:
        raise PrepareError(f"the Reshape target {wire.text(items, TENSOR_NAME)} has no raw data")
    if int.from_bytes(raw[:8], "little", signed=True) != 1:
        return body
    return wire.message(
        [(n, k, bytes(8) + v[8:] if n == TENSOR_RAW else v) for n, k, v in items]
    )


def reshape_targets(graph):
    """Names of the initialisers that Reshape nodes take as their target."""
    names = set()
    for number, _, body in graph:
        if number == GRAPH_NODE:
            node = wire.fields(body)
            if wire.text(node, NODE_OP) == "Reshape":
                names.add([v for n, _, v in node if n == NODE_INPUT][1])
    return names


def names_read(graph):
    """Names that nodes read or the graph returns; None if nodes hold graphs of their own."""
    names = set()
    for number, _, body in graph:
        if number == GRAPH_OUTPUT:
            names.add(wire.first(wire.fields(body), VALUE_NAME))
        elif number == GRAPH_NODE:
            for field, _, value in wire.fields(body):
                if field == NODE_INPUT:
                    names.add(value)
                elif field == NODE_ATTRIBUTE:
                    held = {n for n, _, _ in wire.fields(value)}
                    if held & {ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS}:
                        return None
    return names


def replace_values(graph, number, shapes, initialisers, what):
    """Checks that the graph's inputs or outputs are those in `shapes`, returns the new fields."""
    bodies = [wire.fields(body) for n, _, body in graph if n == number]
    names = [wire.first(items, VALUE_NAME, b"") for items in bodies]
    found = [name.decode() for name in names if name not in initialisers]
    if sorted(found) != sorted(shapes):
        raise PrepareError(f"the model's {what}s are {found}, expected {list(shapes)}")
    return [(number, BYTES, value_info(name, shapes[name])) for name in found]


def prepare(data, inputs, outputs):
    """Returns (prepared model, subnormals flushed). Shapes: {name: [int or symbol, ...]}."""
    model = wire.fields(data)
    body = wire.first(model, MODEL_GRAPH)
    if body is None:
        raise PrepareError("not an ONNX model: it has no graph")
    graph = wire.fields(body)
    initialisers = {
        wire.first(wire.fields(v), TENSOR_NAME) for n, _, v in graph if n == GRAPH_INITIALIZER
    }
    targets = reshape_targets(graph)
    new_inputs = replace_values(graph, GRAPH_INPUT, inputs, initialisers, "input")
    new_outputs = replace_values(graph, GRAPH_OUTPUT, outputs, set(), "output")
    read = names_read(graph)
    kept, flushed = [], 0
    for number, kind, value in graph:
        if number in (GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO):
            continue
        if number == GRAPH_INITIALIZER:
            name = wire.first(wire.fields(value), TENSOR_NAME)
            if read is not None and name not in read:
                continue
            if name in targets:
                value = free_reshape(value)
            value, count = flush_tensor(value)
            flushed += count
        kept.append((number, kind, value))
    new_graph = wire.message(kept + new_inputs + new_outputs)
    new_model = []
    for number, kind, value in model:
        if number == MODEL_GRAPH:
            value = new_graph
        elif number == MODEL_IR:
            value = max(value, IR_FREE_INITIALISERS)
        new_model.append((number, kind, value))
    return wire.message(new_model), flushed


def parse_shape(text):
    """`NAME=batch,3,rows,cols` as (name, [dims])."""
    name, _, dims = text.partition("=")
    if not name or not dims:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=dim,dim,...")
    return name, [int(d) if d.isdigit() else d for d in dims.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--input", action="append", type=parse_shape, required=True)
    parser.add_argument("--output", action="append", type=parse_shape, required=True)
    args = parser.parse_args()
    with open(args.source, "rb") as file:
        data = file.read()
    try:
        made, flushed = prepare(data, dict(args.input), dict(args.output))
    except (PrepareError, wire.WireError) as error:
        sys.exit(f"{args.source}: {error}")
    with open(args.target + ".part", "wb") as file:
        file.write(made)
    os.replace(args.target + ".part", args.target)
    print(f"{args.target}: {len(made)} bytes, {flushed} subnormal weights flushed")


if __name__ == "__main__":
    main()
