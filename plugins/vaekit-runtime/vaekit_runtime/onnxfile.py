"""The bytes of an ONNX file, looked at before anything computes with them: its metadata, and whether it stands by itself.

An ONNX file is one protocol buffer. Its wire format is simple enough to be walked here, which takes milliseconds and spares
people the package `onnx`.

References:
    Protocol Buffers, Encoding, https://protobuf.dev/programming-guides/encoding/.
    The fields of the messages: onnx.proto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Iterator

KEY = "vaekit"
"""The name of the metadata property."""

_DEEPEST = 32
_MOST_FIELDS = 10**6  # of which large models have thousands
_GRAPH, _METADATA = 7, 14  # ModelProto.graph and .metadata_props
_EXTERNAL, _WHERE = 13, 14  # TensorProto.external_data and .data_location
_INNER: dict[str, dict[int, str]] = {
    "model": {_GRAPH: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Where in a message others stand that hold tensors: by the number of the field."""


def metadata(data: bytes) -> bytes | None:
    """The property `vaekit` of an ONNX file; None where it has none.

    Raises:
        ValueError: where the bytes are no ONNX file.
    """
    budget, found, graphs = _budget(), None, 0
    for number, value in _fields(memoryview(data), budget):
        graphs += number == _GRAPH
        if graphs > 1:
            raise ValueError("it holds more than one graph")
        if number == _METADATA and isinstance(value, memoryview):
            pair = dict(_fields(value, budget))
            if _held(pair.get(1)) == KEY.encode():
                found = bytes(_held(pair.get(2)))
    if not graphs:
        raise ValueError("it holds no graph")
    return found


def reaches_out(data: bytes) -> bool:
    """Whether a tensor of an ONNX file has its numbers in another file.

    Raises:
        ValueError: where the bytes are no ONNX file.
    """
    return _reaches_out(memoryview(data), "model", 0, _budget())


def _reaches_out(view: memoryview, message: str, depth: int, budget: Iterator[int]) -> bool:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    inner = _INNER[message]
    for number, value in _fields(view, budget):
        if message == "tensor" and (number == _EXTERNAL or (number == _WHERE and value != 0)):
            return True
        if number in inner and _reaches_out(_held(value), inner[number], depth + 1, budget):
            return True
    return False


def _held(value: object) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("a field is of another type than it must be")
    return value


def _budget() -> Iterator[int]:
    """What each field of a file takes one of, so that looking at it ends."""
    return iter(range(_MOST_FIELDS))


def _fields(view: memoryview, budget: Iterator[int]) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: their numbers, and varints as integers or the bytes of all else."""
    place, end = 0, len(view)
    while place < end:
        if next(budget, None) is None:
            raise ValueError(f"it has more than {_MOST_FIELDS:,} fields")
        key, place = _varint(view, place)
        if key >= 2**32:  # whose upper bits other readers drop
            raise ValueError("a field has no number that there can be")
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(view, place)
            yield number, value
            continue
        if kind == 2:
            size, place = _varint(view, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("a field is of no known type")
        if number == 0 or size > end - place:
            raise ValueError("it is cut short, or no protocol buffer")
        yield number, view[place : place + size]
        place += size


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    for byte in view[place : place + 10]:
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("it is cut short, or no protocol buffer")
