"""Just enough of the protobuf wire format to edit an ONNX file, with the standard library alone.

An edit keeps every byte it does not mean to change, so the outcome depends on the input and on
this code only, never on the version of an installed protobuf or onnx package.
"""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """The bytes are not a protobuf message of the expected shape."""


def read_varint(data, at):
    """Returns (value, offset behind it)."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError(f"varint at byte {at} runs past its end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def varint(value):
    """Encodes an unsigned value (a negative int64 is passed as value + 2**64)."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(data):
    """Returns the message's fields in order: [(number, wire type, value)].

    The value is an int for varints and bytes for everything else.
    """
    out, at, end = [], 0, len(data)
    while at < end:
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = read_varint(data, at)
        else:
            if kind == BYTES:
                size, at = read_varint(data, at)
            elif kind in (FIXED32, FIXED64):
                size = 4 if kind == FIXED32 else 8
            else:
                raise WireError(f"wire type {kind} at byte {at} is not used by ONNX")
            if at + size > end:
                raise WireError(f"field {number} at byte {at} runs past the end of its message")
            value, at = bytes(data[at : at + size]), at + size
        out.append((number, kind, value))
    return out


def message(items):
    """Encodes fields as `fields` returns them."""
    out = []
    for number, kind, value in items:
        out.append(varint(number << 3 | kind))
        if kind == VARINT:
            out.append(varint(value))
        else:
            if kind == BYTES:
                out.append(varint(len(value)))
            out.append(value)
    return b"".join(out)


def first(items, number, default=None):
    """The value of the first field with this number."""
    return next((value for n, _, value in items if n == number), default)


def text(items, number):
    """The first field with this number as text, empty if there is none."""
    return first(items, number, b"").decode("utf-8")
