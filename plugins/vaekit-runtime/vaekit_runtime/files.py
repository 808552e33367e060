"""The exported files of a model, read whole and checked before anything computes with them."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vaekit_runtime import onnxfile
from vaekit_runtime.errors import InputError, ModelError, short
from vaekit_runtime.metadata import Metadata, parse

PARTS = ("encode", "decode")

_MOST_BYTES = 2**31 - 1  # which no protocol buffer exceeds


@dataclass(frozen=True)
class File:
    """An exported file.

    Args:
        path: of it.
        data: its bytes.
        metadata: what it says.
    """

    path: Path
    data: bytes
    metadata: Metadata


def load(path: Path, parts: Sequence[str] | None = None) -> dict[str, File]:
    """The files of a folder, or the one file, by part.

    Args:
        path: of the folder or the file.
        parts: of a folder, those to read; all that there are unless given.

    Raises:
        ModelError: where they are missing, cannot be trusted, or are not of one model.
        InputError: where one of `parts` is not there, or there are none of that name.
    """
    if parts is not None and (not parts or any(part not in PARTS for part in parts)):
        raise InputError(f"parts is {short(parts)}: name encode or decode in a list, or leave it out")
    if not path.exists():
        raise ModelError(f"there is no file or folder {path}: give a folder that vaekit export wrote, or an .onnx file of it")
    if not path.is_dir():
        file = _file(path)
        files = {str(file.metadata.part): file}
    else:
        files = {part: _file(path / f"{part}.onnx") for part in _found(path) if parts is None or part in parts}
        for part, file in files.items():
            if file.metadata.part != part:
                raise ModelError(f"{file.path} says that its part is {file.metadata.part}: its name must be that of its part")
    for part in parts or ():
        if part not in files:
            raise InputError(f"{path} has no {part}: export it with --parts {part}, or with both")
    _agree([*files.values()])
    return files


def read(path: Path, most: int) -> bytes:
    """All of a regular file of at most so many bytes.

    Raises:
        ModelError: where it cannot be read, or is larger.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ModelError(f"{path} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > most:
            raise ModelError(f"{path} has {status.st_size:,} bytes, more than the {most:,} allowed")
        return file.read(most)


def there(folder: Path, kind: str = "onnx") -> tuple[str, ...]:
    """The parts of which a folder holds a file of this kind, `onnx` or `pt2`, by their names."""
    return tuple(part for part in PARTS if (folder / f"{part}.{kind}").exists())


def _found(folder: Path) -> tuple[str, ...]:
    found = there(folder)
    if found:
        return found
    if there(folder, "pt2"):
        raise ModelError(f"{folder} holds programs of torch.export: export the model with --format onnx")
    if any((folder / name).exists() for name in ("config.json", "model")):
        raise ModelError(f"{folder} is a model, not an exported one: vaekit export {folder} --format onnx --output exported")
    raise ModelError(f"{folder} holds neither encode.onnx nor decode.onnx: give a folder that vaekit export wrote")


def _file(path: Path) -> File:
    data = read(path, _MOST_BYTES)
    try:
        said = onnxfile.metadata(data)
        alone = not onnxfile.reaches_out(data)
    except ValueError as error:
        raise ModelError(f"{path} is no ONNX file: {error}") from None
    if said is None:
        raise ModelError(f"{path} is not of vaekit, since it has no metadata of that name: make it with vaekit export")
    if not alone:
        raise ModelError(f"{path} has numbers in other files, which are never opened: make it with vaekit export")
    try:
        return File(path, data, parse(said))
    except ValueError as error:
        raise ModelError(f"{path}: its metadata cannot be trusted: {short(error, 300)}") from None


def _agree(files: list[File]) -> None:
    """Whether files are of one model: a code of one must mean the same to the other."""
    for file in files[1:]:
        one, other = files[0].metadata, file.metadata
        for what in ("digest", "data", "latent", "prior", "context"):
            if getattr(one, what) != getattr(other, what):
                raise ModelError(
                    f"{files[0].path} and {file.path.name} are of different models (their {what} differ): "
                    "export both anew, at once"
                )
