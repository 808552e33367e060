"""A model as programs that need no vaekit: `encode` and `decode`, for torch.export or ONNX.

What is written is a folder of data: a program for each half, which describes itself, and draws from the prior where that is
not standard normal. A Trace never crosses the border: each half is a function of tensors.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from vaekit.errors import CheckpointError, ConfigError, suggestion
from vaekit.export import described
from vaekit.export.draws import Draws
from vaekit.export.graphs import HALVES, Graph, still
from vaekit.export.parity import Differences, compared
from vaekit.export.programs import FORMATS, PRECISIONS
from vaekit.model import VAE


@dataclass(frozen=True)
class Exported:
    """One program that was written.

    Args:
        part: `encode` or `decode`.
        path: of its file.
        bytes: of that.
        differences: of its outputs from the model's.
    """

    part: str
    path: Path
    bytes: int
    differences: Differences

    def moved(self, before: Path, after: str | Path) -> "Exported":
        """The same, in the folder that what was filled has become."""
        return replace(self, path=Path(os.path.expanduser(after)) / self.path.relative_to(before))


def write(
    model: VAE,
    folder: str | Path,
    *,
    format: str = "onnx",
    parts: Sequence[str] = tuple(HALVES),
    precision: str = "float32",
    name: str = "",
    examples: tuple[Tensor, Tensor | None] | None = None,
) -> list[Exported]:
    """Write the halves of a model as programs, each of which is run and compared with the model.

    `encode` takes x (N, *data_shape), and c (N, C) where the model is conditional, to the code (N, *latent.out_shape), and to
    the standard deviation of q(z | x, c) where that is a diagonal Gaussian over the root latent. `decode` takes z, and c, to
    the mean of p(x | z, c). N is any number from 1; all numbers are float32, whatever the model was saved in.

    Args:
        model: to export; it is left as it is.
        folder: to write; is made, and must not hold anything.
        format: `torch` for programs of torch.export (.pt2), or `onnx`.
        parts: which halves.
        precision: of the weights in ONNX: `float32`; or `float16` or `int8`, whose differences are measured and allowed.
        name: what people call the model.
        examples: some x (N, *data_shape) and, for a conditional model, their y, to compare with besides random ones.

    Returns:
        What was written.

    Raises:
        ConfigError: where what is asked for is not there, a half cannot be exported, or differs by more than
            `vaekit.export.parity.MOST`.
        CheckpointError: where the folder cannot be written.
    """
    check(format, parts, precision)
    with appearing(folder) as inside:
        written = fill(model, inside, format=format, parts=parts, precision=precision, name=name, examples=examples)
    return [done.moved(inside, folder) for done in written]


def fill(
    model: VAE,
    folder: Path,
    *,
    format: str,
    parts: Sequence[str],
    precision: str = "float32",
    name: str = "",
    examples: tuple[Tensor, Tensor | None] | None = None,
) -> list[Exported]:
    """Write what `write` does into a folder that is there, as of `appearing`."""
    halves = [half for half in HALVES if half in parts]
    model = still(model)
    graphs = [Graph.of(model, half) for half in halves]
    draws = Draws.of(model)
    description = described.Description(model, name, precision, draws)
    written = [_written(graph, folder, format, description, examples) for graph in graphs]
    if "decode" in halves:
        draws.write(folder)
    (folder / described.README).write_text(description.readme([done.path.name for done in written]), encoding="utf-8")
    return written


@contextmanager
def appearing(target: str | Path) -> Iterator[Path]:
    """A block that fills a folder, which has its name only once all of it is there.

    Raises:
        ConfigError: where there is something of that name already.
        CheckpointError: where it cannot be written.
    """
    target = check_free(target)
    there = next(folder for folder in target.parents if folder.exists())
    partial = there / f".{target.name}.new-{os.getpid()}"
    try:
        partial.mkdir()
        yield partial
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rmdir()
        partial.replace(target)
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check(format: str, parts: Sequence[str], precision: str) -> None:
    """Check what is asked for, before what takes long.

    Raises:
        ConfigError: naming what there is instead, or what to install.
    """
    if format not in FORMATS:
        raise ConfigError(f"no format {format!r}: there are {', '.join(FORMATS)}{suggestion(format, FORMATS)}")
    for part in parts:
        if part not in HALVES:
            raise ConfigError(f"a model has no half {part!r} to export, but {' and '.join(HALVES)}{suggestion(part, HALVES)}")
    if not parts:
        raise ConfigError(f"nothing to export: name {' or '.join(HALVES)}")
    if precision not in PRECISIONS:
        raise ConfigError(f"no precision {precision!r}: there are {', '.join(PRECISIONS)}{suggestion(precision, PRECISIONS)}")
    if format != "onnx" and precision != "float32":
        raise ConfigError(f"precision {precision!r} is for format onnx; {format} is written in float32")
    FORMATS[format].check()


def check_free(folder: str | Path) -> Path:
    """A folder by its whole name, where nothing is lost by writing it.

    Raises:
        ConfigError: where there is something of that name already.
    """
    target = Path(os.path.abspath(os.path.expanduser(folder)))
    if target == Path.cwd():
        raise ConfigError(f"{folder} is the folder that you are in: give one inside it")
    if os.path.lexists(target) and not (target.is_dir() and not target.is_symlink() and not any(target.iterdir())):
        raise ConfigError(f"{folder} is there already, and nothing is written over: give another, or remove it")
    return target


def _written(
    graph: Graph,
    folder: Path,
    format: str,
    description: described.Description,
    examples: tuple[Tensor, Tensor | None] | None,
) -> Exported:
    program = FORMATS[format](graph, description.precision)
    differences = compared(graph, program.run, examples, description.precision == "float32")
    path = folder / f"{graph.half}{program.suffix}"
    program.save(path, description.of(graph, differences))
    return Exported(graph.half, path, path.stat().st_size, differences)
