"""Training state on disk: tensors in safetensors, the rest in JSON, written whole or not at all; the last two are kept."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit import strictjson
from vaekit.errors import CheckpointError

_TENSORS, _PROGRESS = "state.safetensors", "state.json"
_KEPT = 2


def write(folder: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> Path:
    """Write one state under the number of its epoch, and drop all but the last two.

    Raises:
        CheckpointError: where it cannot be written; what was there before is untouched.
    """
    final = folder / f"{progress['epoch']:06d}"
    partial = folder / f".{final.name}.{os.getpid()}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, partial / _TENSORS)
        (partial / _PROGRESS).write_text(json.dumps(progress), encoding="utf-8")
        for path in partial.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"no checkpoint could be written to {folder}: {error}") from None
    for old in _found(folder)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest state that can be read; None where there is none at all.

    Raises:
        CheckpointError: where there are some but none can be read.
    """
    wrong = ""
    for path in reversed(_found(folder)):
        try:
            progress = strictjson.loads((path / _PROGRESS).read_bytes())
            return load_file(path / _TENSORS, backend="pread"), progress
        except (OSError, ValueError, SafetensorError) as error:
            wrong = f"{path}: {error}"
    if wrong:
        raise CheckpointError(f"no checkpoint under {folder} can be read ({wrong})")
    return None


def _found(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.is_dir())
