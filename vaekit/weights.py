"""The files of the weights: what they must hold is known, and checked, before any of it is read."""

import math
import re
from collections.abc import Collection, Iterable
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vaekit import strictjson
from vaekit.errors import CheckpointError, short
from vaekit.files import INDEX, WEIGHTS, File, Files, likeness

SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors", re.ASCII)


class Unfilled(TorchFunctionMode):
    """A block in which torch's initialisers leave parameters as they are: all of them are about to be read.

    Buffers are filled, because not all of them are saved.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in _INITIALISERS and isinstance(given["tensor"], nn.Parameter):
            return given["tensor"]
        return func(*args, **given)


_INITIALISERS = {nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_}


def find(files: Files, expected: dict[str, Tensor]) -> dict[str, File]:
    """The files of the weights under the names that they have in a model folder, with the index where there are several.

    Args:
        files: of the model.
        expected: the tensors that there must be, on the meta device.

    Raises:
        CheckpointError, HubError: where one is not there, or does not hold what it must.
    """
    found = files.first_of(WEIGHTS, INDEX)
    if found is None:
        raise CheckpointError(f"{files.source} has no {WEIGHTS}{likeness(files.names())}")
    shards = {WEIGHTS: expected} if found == WEIGHTS else _shards(files, expected)
    weights = {}
    for name, tensors in shards.items():
        size = size_of(tensors.values())
        weights[name] = files.get(name, size + 8, size + 8 + strictjson.MOST_BYTES)
        _check_header(weights[name], tensors)
    return weights if found == WEIGHTS else {INDEX: files.get(INDEX, 0, strictjson.MOST_BYTES), **weights}


def read(weights: dict[str, File]) -> dict[str, Tensor]:
    """The tensors of files that `find` found.

    Raises:
        CheckpointError: where they cannot be read, or hold values that are not finite.
    """
    tensors: dict[str, Tensor] = {}
    for file in (file for name, file in weights.items() if name != INDEX):
        try:
            held = load_file(file.path, backend="pread")  # a mapped file changes the model, or ends the process, as it does
        except SafetensorError as error:
            raise CheckpointError(f"{file} is not a valid safetensors file: {error}") from None
        except (MemoryError, OSError, RuntimeError) as error:
            raise CheckpointError(f"{file} cannot be read: {short(error, 200)}") from None
        for name, tensor in held.items():
            if not _is_finite(tensor):
                raise CheckpointError(f"{file}: {_of(name)} holds values that are not finite")
        tensors |= held
    return tensors


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are; without memory of its own, unlike `torch.isfinite`."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(math.isfinite(end) for end in tensor.aminmax())


def size_of(tensors: Iterable[Tensor]) -> int:
    """The bytes of so many tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _shards(files: Files, expected: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Which file holds which tensors, as the index says."""
    file = files.get(INDEX, 0, strictjson.MOST_BYTES)
    try:
        index = strictjson.loads(file.read(strictjson.MOST_BYTES))
    except ValueError as error:
        raise CheckpointError(f"{file} is not valid JSON: {error}") from None
    where = index.get("weight_map") if isinstance(index, dict) and index.keys() <= {"metadata", "weight_map"} else None
    if not isinstance(where, dict) or not all(isinstance(name, str) and SHARD.fullmatch(name) for name in where.values()):
        raise CheckpointError(f"{file} is not an index of shards: a weight_map to model-00001-of-0000n.safetensors is wanted")
    _check_names(file, where.keys(), expected.keys())
    names = sorted(set(where.values()))
    if names != [f"model-{i + 1:05}-of-{len(names):05}.safetensors" for i in range(len(names))]:
        raise CheckpointError(f"{file} names {len(names)} shards, {names[0]} to {names[-1]}: not all, or not of one model")
    return {name: {key: tensor for key, tensor in expected.items() if where[key] == name} for name in names}


def _check_header(file: File, expected: dict[str, Tensor]) -> None:
    """Compare what the file says it holds with what the model must have, before anything is read or allocated."""
    header, size = _header(file)
    _check_names(file, header.keys(), expected.keys())
    for name, tensor in expected.items():
        entry = header[name]
        shape, dtype = list(tensor.shape), _DTYPES[tensor.dtype]
        if entry["shape"] != shape:
            raise CheckpointError(f"{file}: {_of(name)} has shape {short(entry['shape'])}, the model needs {shape}")
        if entry["dtype"] != dtype:
            raise CheckpointError(f"{file}: {_of(name)} is of {short(entry['dtype'])}, the model needs {dtype}")
    wanted = size_of(expected.values())
    if size != wanted:
        raise CheckpointError(f"{file}: {size:,} bytes of tensors, the model needs {wanted:,}")


def _check_names(file: File, found: Collection[str], expected: Collection[str]) -> None:
    absent = [name for name in expected if name not in found]
    if absent:
        raise CheckpointError(f"{file}: {_of(absent[0])} is missing{_and_more(absent)}")
    extra = [name for name in found if name not in expected]
    if extra:
        raise CheckpointError(f"{file}: {_of(extra[0])} does not belong to this model{_and_more(extra)}")


def _header(file: File) -> tuple[dict[str, Any], int]:
    """What a safetensors file says it holds, by name, and how many bytes of tensors follow."""
    with file.opened() as (content, size):
        start = content.read(8)
        length = int.from_bytes(start, "little") if size >= 8 else 0
        if not 2 <= length <= min(strictjson.MOST_BYTES, size - 8):
            raise CheckpointError(f"{file} is not a safetensors file, or its header is too large{_seems(start)}")
        raw = content.read(length)
        if raw[:1] != b"{":
            raise CheckpointError(f"{file} is not a safetensors file: its header does not begin with a brace{_seems(start)}")
        try:
            header = strictjson.loads(raw)
        except ValueError as error:
            raise CheckpointError(f"{file}: its header is not valid JSON: {error}") from None
    if not isinstance(header, dict) or not all(_is_entry(e) for name, e in header.items() if name != "__metadata__"):
        raise CheckpointError(f"{file} is not a safetensors file")
    header.pop("__metadata__", None)
    return header, size - 8 - length


def _seems(start: bytes) -> str:
    return "; it seems to be a pickle, which is never opened" if start.startswith((b"PK", b"\x80")) else ""


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        return False
    return isinstance(entry["shape"], list) and all(type(side) is int for side in entry["shape"])  # True is no side


def _of(tensor: str) -> str:
    """A tensor with the part that it is of: `tensor 'head.weight' of the latent`."""
    part, _, rest = tensor.partition(".")
    return f"tensor {short(rest)!r} of the {short(part)}" if rest else f"tensor {short(tensor)!r}"


def _and_more(names: list[str]) -> str:
    return f", and {len(names) - 1} more" if len(names) > 1 else ""


_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
