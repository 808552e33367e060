"""The latent explorer as a page that needs no server: one file that opens from disk, or as a static Space."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from vaekit import VAE, ConfigError, export
from vaekit.io import title
from vaekit_demo.engine.shown import Shown
from vaekit_demo.launching import shown_of
from vaekit_demo.web.card import readme
from vaekit_demo.web.contents import check, content
from vaekit_demo.web.pages import page
from vaekit_demo.web.runtime import runtime as files_of_runtime
from vaekit_demo.web.sprites import SIDES, Sprite, possible, sprite

MOST_MODEL = 96 * 2**20
"""Bytes of the ONNX files of a model that a page carries."""


def write(
    model: VAE, given: str, folder: Path, *, runtime: Path | None = None, light: bool = False, data_root: str | None = None
) -> list[Path]:
    """Write the page of a model: index.html, which is all of it, and README.md, by which a static Space knows what to show.

    Args:
        model: to show.
        given: what it was loaded from: a run, a folder, a repo.
        folder: which is there, and empty.
        runtime: the npm package onnxruntime-web, or a folder of its files; taken from the cache, or fetched once, unless given.
        light: whether to write pictures that were decoded beforehand, and no model; only for codes on a plane.
        data_root: where named data sets are.

    Returns:
        The files.

    Raises:
        VaekitError: where the model cannot be shown so, its halves cannot be exported, or the runtime is not to be had.
    """
    if light and runtime is not None:
        raise ConfigError("a light page runs no model: leave --runtime away, or --light")
    named = re.sub(r"^\d{8}-\d{6}-", "", title(given))  # a run's name without when it was
    shown = shown_of("model", named, given, data_root, model)
    check(shown)
    grid = _beforehand(shown, light)
    blocks = {} if light else _halves(model) | files_of_runtime(runtime)
    written = {
        "index.html": page(content(shown, grid, light=light), blocks),
        "README.md": readme(shown, light=light),
    }
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in written]


def _beforehand(shown: Shown, light: bool) -> Sprite | None:
    """Pictures that are there before the runtime is, or instead of it."""
    if not possible(shown):
        if light:
            raise ConfigError(f"a light page is of codes in a plane; this model's {_elsewhere(shown)}: leave --light away")
        return None
    grid = sprite(shown, SIDES if light else _FEW)
    if grid.bytes <= MOST_SPRITE:
        return grid
    if light:
        sizes = f"{grid.bytes / 2**20:.1f} MiB, and {MOST_SPRITE / 2**20:g} MiB are the most"
        raise ConfigError(f"the pictures of a light page would have {sizes}: leave --light away")
    return None


def _elsewhere(shown: Shown) -> str:
    """Where codes are that are not all over a plane."""
    if shown.size != 2:
        return f"have {shown.size:,} dimension{'s' if shown.size > 1 else ''}"
    return next(_SUPPORTS[block.support] for block in shown.room.blocks if block.support != "real")


_SUPPORTS = {"sphere": "are on a sphere", "ball": "are in a ball", "simplex": "are on a simplex", "codes": "are whole numbers"}


MOST_SPRITE = 2 * 2**20
_FEW = (21, 13, 9)  # to begin with


def _halves(model: VAE) -> dict[str, bytes]:
    with TemporaryDirectory(prefix="vaekit-web-") as folder:
        written = export.write(model, Path(folder) / "halves", format="onnx", parts=("encode", "decode"))
        blocks = {file.path.name: file.path.read_bytes() for file in written}
    size = sum(map(len, blocks.values()))
    if size > MOST_MODEL:
        raise ConfigError(
            f"the model has {size / 2**20:,.0f} MiB, and {MOST_MODEL / 2**20:g} MiB are the most that a page carries: "
            "`vaekit demo` shows it"
        )
    return blocks
