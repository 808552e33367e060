"""What comes of a prediction: images as a picture or an array, codes as a table, a document or an array."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import typer

from vaekit_runtime import pictures
from vaekit_runtime.arrays import Array
from vaekit_runtime.errors import InputError

_MOST_SHOWN = 10_000
_OF_CODES, _OF_IMAGES = (".csv", ".json", ".npy"), (".png", ".npy")


def target(output: Path | None, name: str, shape: tuple[int, ...] | None, sources: Sequence[Path]) -> Path | None:
    """The file to write, looked at before anything is computed; None for standard output.

    Args:
        output: as it was asked for.
        name: what the file is called where it was not, without its suffix.
        shape: of one of the data that are written; None for codes.
        sources: that are read, and so not written over.

    Raises:
        InputError: where it is of no format that such data have, or is one of `sources`.
    """
    if output is None and shape is None:
        return None
    shown = shape is not None and pictures.drawable(shape)
    path = output or Path(name + (".png" if shown else ".npy"))
    allowed = _OF_CODES if shape is None else _OF_IMAGES if shown else (".npy",)
    if path.suffix.lower() not in allowed:
        what = "codes" if shape is None else "images" if shown else f"data of shape {shape}"
        raise InputError(f"{path} cannot be written: {what} are written as {' or '.join(allowed)}")
    for source in sources:
        if path.exists() and source.exists() and path.samefile(source):
            raise InputError(f"{path} is read, and so not written over: give another --output")
    return path


def images(path: Path | None, made: Array, above: Array | None = None) -> None:
    """Write data (N, *data_shape): each row under its originals where there are some."""
    assert path is not None
    if path.suffix.lower() == ".npy":
        _write(path, lambda: _save(path, made))
        return
    if len(made) > _MOST_SHOWN:
        raise InputError(f"{len(made):,} images, more than the {_MOST_SHOWN:,} that a picture shows: write them as .npy")
    columns = math.ceil(math.sqrt(len(made))) if above is None else min(10, len(made))
    pixels = pictures.grid(made, columns) if above is None else pictures.pairs(above, made, columns)
    _write(path, lambda: pictures.save(pixels, path))


def codes(path: Path | None, names: Sequence[str], made: Array) -> None:
    """Write codes (N, *latent_shape), each beside the name of its input; as CSV with the numbers of one in one row."""
    if path is None:
        typer.echo(_csv(names, made), nl=False)
    elif path.suffix.lower() == ".npy":
        _write(path, lambda: _save(path, made))
    else:
        text = _csv(names, made) if path.suffix.lower() == ".csv" else _json(names, made)
        _write(path, lambda: path.write_text(text, encoding="utf-8"))


def _csv(names: Sequence[str], made: Array) -> str:
    rows = made.reshape(len(made), -1)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["input", *(f"z{i}" for i in range(rows.shape[1]))])
    table.writerows([name, *map(str, row)] for name, row in zip(names, rows, strict=True))
    return text.getvalue()


def _json(names: Sequence[str], made: Array) -> str:
    items = [{"input": name, "code": code.tolist()} for name, code in zip(names, made, strict=True)]
    return json.dumps(items, indent=2, allow_nan=False) + "\n"


def _save(path: Path, array: Array) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _write(path: Path, write: Callable[[], object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be written: {error}") from None
    typer.echo(path)
