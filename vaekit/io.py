"""A model as a folder of three files: config.json, model.safetensors and README.md; data only, nothing that runs.

Loading trusts nothing: sizes are capped, JSON is strict, the config is checked against the registry, a model on the meta
device says what tensors there must be, and only then is memory taken.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vaekit import strictjson
from vaekit.blocks import find_device
from vaekit.card import card
from vaekit.config import Config
from vaekit.errors import CheckpointError, UnknownPart, short
from vaekit.known import EXTRAS
from vaekit.model import VAE
from vaekit.wiring import build_model, describe

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


def load(repo_or_path: str | Path, *, device: str = "cpu", dtype: torch.dtype | None = None) -> VAE:
    """A model from a model folder or a run.

    Args:
        repo_or_path: the folder.
        device: to put the model on; `auto` for a GPU where there is one.
        dtype: to convert it to; as it was saved where there is none.

    Returns:
        The model, in evaluation mode.

    Raises:
        CheckpointError: where the folder or its weights cannot be trusted, naming the part.
        ConfigError, UnknownPart, ShapeError: where its config does not make a model here.
    """
    folder = model_folder(repo_or_path)
    config = _config(folder / CONFIG)
    try:
        with torch.device("meta"):
            expected = build_model(config).state_dict()
    except UnknownPart as error:
        ours = {"vaekit", *(f"vaekit-{extra}" for extra in EXTRAS.values())}
        others = sorted(config.plugins.keys() - ours)
        said = f"\nthe config says that its parts come from {', '.join(others)}; installing a package runs its code"
        raise UnknownPart(f"{error}{said if others else ''}") from None
    weights = folder / WEIGHTS
    _check_header(weights, expected)
    with torch.random.fork_rng([]):
        model = build_model(config)
    try:
        tensors = load_file(weights, backend="pread")  # a mapped file would change the model, or end the process, as it changes
    except SafetensorError as error:
        raise CheckpointError(f"{weights} is not a valid safetensors file: {error}") from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{weights}: {_of(name)} holds values that are not finite")
    model.load_state_dict(tensors, strict=True)
    model.source = str(folder)
    return model.to(find_device(device), dtype).eval()


def save(model: VAE, folder: str | Path) -> Path:
    """Write a model folder; each file appears under its name only when it is whole, the config last.

    Args:
        model: to save.
        folder: is made where it is missing; a model that is there is replaced.

    Returns:
        The folder.
    """
    folder = Path(folder).expanduser()
    config = model.config or describe(model)
    dtype = str(next(iter(model.parameters()), model.context.empty).dtype).removeprefix("torch.")
    config = config.model_copy(update={"dtype": dtype})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        write_whole(folder / WEIGHTS, lambda path: save_file(tensors, path, {"format": "pt"}))
        write_whole(folder / CARD, lambda path: path.write_text(card(model, config), encoding="utf-8"))
        write_whole(folder / CONFIG, lambda path: path.write_text(config.to_json(), encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from None
    return folder


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a file beside `path`, then give it its name, so that nobody ever sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def model_folder(given: str | Path) -> Path:
    """The model folder that a person means: itself, or the one in a run; `latest` is the newest run under ./runs.

    Raises:
        CheckpointError: saying what there is instead.
    """
    run = run_of(given)
    folder = run / "model" if run else Path(given).expanduser()
    if run and not folder.is_dir():
        raise CheckpointError(f"{run} holds no model: it was stopped before its first epoch was done")
    if not folder.is_dir():
        raise CheckpointError(f"no folder {given}: give a run, a model folder, or 'latest' for the newest run under ./runs")
    if not (folder / CONFIG).exists():
        raise CheckpointError(f"{folder} holds no model: there is no {CONFIG}")
    return folder


def run_of(given: str | Path) -> Path | None:
    """The run that a person means by a model: its directory, its model folder, or `latest`; None for a model without a run."""
    folder = Path(given).expanduser()
    if str(given) == "latest" and not folder.exists():
        runs = [path.parent for path in Path("runs").glob("*/run.json")]
        if not runs:
            raise CheckpointError("there is no run under ./runs yet: vaekit train digits")
        return max(runs, key=lambda run: (run / "run.json").stat().st_mtime_ns)
    if (folder / "run.json").is_file():
        return folder
    return folder.parent if folder.name == "model" and (folder.parent / "run.json").is_file() else None


def run_folder(given: str | Path) -> Path:
    """The run that a person means.

    Raises:
        CheckpointError: where there is none.
    """
    run = run_of(given)
    if run is None:
        raise CheckpointError(f"{given} is not a run: give a run directory, or 'latest' for the newest one under ./runs")
    return run


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file and its size; opened without waiting, lest it is a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise CheckpointError(f"{path} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file, status.st_size


def _config(path: Path) -> Config:
    with _opened(path) as (file, size):
        if size > strictjson.MOST_BYTES:
            raise CheckpointError(f"{path} has {size:,} bytes, more than the {strictjson.MOST_BYTES:,} allowed")
        return Config.from_json(file.read())


def _check_header(path: Path, expected: dict[str, Tensor]) -> None:
    """Compare what the file says it holds with what the model must have, before anything is read or allocated."""
    bytes_expected = sum(t.numel() * t.element_size() for t in expected.values())
    header, size = _header(path)
    absent = [name for name in expected if name not in header]
    if absent:
        raise CheckpointError(f"{path}: {_of(absent[0])} is missing{_and_more(absent)}")
    extra = [name for name in header if name not in expected]
    if extra:
        raise CheckpointError(f"{path}: {_of(extra[0])} does not belong to this model{_and_more(extra)}")
    for name, tensor in expected.items():
        entry = header[name]
        shape, dtype = list(tensor.shape), _DTYPES[tensor.dtype]
        if entry["shape"] != shape:
            raise CheckpointError(f"{path}: {_of(name)} has shape {short(entry['shape'])}, the model needs {shape}")
        if entry["dtype"] != dtype:
            raise CheckpointError(f"{path}: {_of(name)} is of {short(entry['dtype'])}, the model needs {dtype}")
    if size != bytes_expected:
        raise CheckpointError(f"{path}: {size:,} bytes of tensors, the model needs {bytes_expected:,}")


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """What a safetensors file says it holds, by name, and how many bytes of tensors follow."""
    with _opened(path) as (file, size):
        length = int.from_bytes(file.read(8), "little") if size >= 8 else 0
        if not 2 <= length <= min(strictjson.MOST_BYTES, size - 8):
            raise CheckpointError(f"{path} is not a safetensors file, or its header is too large")
        try:
            header = strictjson.loads(file.read(length))
        except ValueError as error:
            raise CheckpointError(f"{path}: its header is not valid JSON: {error}") from None
    if not isinstance(header, dict) or not all(_is_entry(e) for name, e in header.items() if name != "__metadata__"):
        raise CheckpointError(f"{path} is not a safetensors file")
    header.pop("__metadata__", None)
    return header, size - 8 - length


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}


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
