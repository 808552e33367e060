"""Training state on disk: tensors in safetensors, the rest in JSON, written whole or not at all; the last two are kept."""

import hashlib
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit import strictjson
from vaekit.errors import CheckpointError
from vaekit.files import flush

_TENSORS, _PROGRESS = "state.safetensors", "state.json"
_DIGEST = "sha256"
_KEPT = 2

State = tuple[dict[str, Tensor], dict[str, Any]]


class Saver:
    """Writes states from time to time: not before so many seconds, nor so often that it takes more than a fiftieth of the time.

    Args:
        folder: to write to.
        every: seconds between two states.
    """

    def __init__(self, folder: Path, every: float) -> None:
        self.folder, self.every = folder, every
        self._next = time.monotonic() + every

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() >= self._next

    def write(self, state: State) -> None:
        """Write a state, as `write` does."""
        start = time.monotonic()
        write(self.folder, state)
        took = time.monotonic() - start
        self._next = time.monotonic() + max(self.every, _SHARE * took)


_SHARE = 50


def write(folder: Path, state: State) -> Path:
    """Write one state under the number of its step, a new name where there is one of that step, and drop all but the last two.

    Raises:
        CheckpointError: where it cannot be written; what was there before is untouched.
    """
    tensors, progress = state
    final = _unused(folder, f"{progress['steps']:09d}")
    partial = folder / f".{final.name}.{os.getpid()}"
    try:
        for old in folder.glob(".*"):  # of a process that was killed
            shutil.rmtree(old, ignore_errors=True)
        partial.mkdir(parents=True)
        flush(folder.parent)
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, partial / _TENSORS)
        told = {**progress, _DIGEST: _digest(partial / _TENSORS)}
        (partial / _PROGRESS).write_text(json.dumps(told), encoding="utf-8")
        for path in (*partial.iterdir(), partial):
            flush(path)
        partial.rename(final)
        flush(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"no checkpoint could be written to {folder}: {error}") from None
    there = _found(folder)
    course = there[: there.index(final) + 1]
    for old in (*course[:-_KEPT], *there[len(course) :]):  # later ones could not be read, or it would go on from them
        shutil.rmtree(old, ignore_errors=True)
    return final


def there(folder: Path) -> bool:
    """Whether there are any states, read or not."""
    return bool(_found(folder))


def read(folder: Path) -> State | None:
    """The newest state that can be read, with a warning where a newer one cannot be; None where there is none at all.

    Raises:
        CheckpointError: where there are some but none can be read.
    """
    damaged: list[str] = []
    for path in reversed(_found(folder)):
        try:
            progress = strictjson.loads((path / _PROGRESS).read_bytes())
            if not isinstance(progress, dict):
                raise ValueError("an object is wanted")
            if progress.pop(_DIGEST, None) != _digest(path / _TENSORS):
                raise ValueError(f"{_TENSORS} is not what was written")
            tensors = load_file(path / _TENSORS, backend="pread")
        except (OSError, ValueError, SafetensorError) as error:
            damaged.append(f"{path}: {error}")
            continue
        if damaged:
            warnings.warn(f"the newest checkpoint cannot be read ({damaged[0]}): {path} takes its place", stacklevel=2)
        return tensors, progress
    if damaged:
        raise CheckpointError(
            f"no checkpoint under {folder} can be read ({len(damaged)} damaged, the newest is {damaged[0]}): "
            f"delete that folder, and `vaekit resume {folder.parent}` begins again from the seed"
        )
    return None


def is_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all that they hold is."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unused(folder: Path, name: str) -> Path:
    """A path of that name, or with a number after it: a state is never replaced, as there would be a moment without any."""
    again = max((_place(path)[1] + 1 for path in _found(folder) if path.name.startswith(name)), default=0)
    return folder / (f"{name}-{again}" if again else name)


def _found(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*") if _NAME.fullmatch(path.name) and path.is_dir()), key=_place)


def _place(path: Path) -> tuple[int, int]:
    step, _, again = path.name.partition("-")
    return int(step), int(again or 0)


_NAME = re.compile(r"\d+(-\d+)?")
