"""Pictures of what a model does: images as uint8 arrays, charts as figures of matplotlib, and both as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vaekit.errors import ConfigError
from vaekit.figures.charts import curves, curves_of, kl_bars, kl_surface, rate_distortion
from vaekit.figures.codes import scatter, thumbnails
from vaekit.figures.labelled import arithmetic, by_class, labelled, traversals
from vaekit.figures.pixels import Picture, drawable, grid, save, save_gif
from vaekit.figures.posteriors import Posteriors
from vaekit.figures.shifts import shift
from vaekit.figures.strips import interpolation, loop, manifold, reconstructions, samples
from vaekit.model import VAE

__all__ = [
    "Picture",
    "Posteriors",
    "arithmetic",
    "by_class",
    "curves",
    "curves_of",
    "drawable",
    "grid",
    "interpolation",
    "kl_bars",
    "kl_surface",
    "labelled",
    "loop",
    "manifold",
    "rate_distortion",
    "reconstructions",
    "samples",
    "save",
    "save_gif",
    "scatter",
    "shift",
    "thumbnails",
    "traversals",
    "write",
]


def write(folder: Path, model: VAE, x: Tensor, y: Tensor | None, rows: Sequence[dict[str, Any]]) -> list[Path]:
    """The pictures of a run: curves, and where the data can be shown samples, reconstructions of `x`, and a manifold."""
    written = [curves(rows, folder / "curves.png")]
    y = y if model.conditional else None
    if drawable(model.data_shape):
        written.append(save(samples(model), folder / "samples.png"))
        written.append(save(reconstructions(model, x, y), folder / "reconstructions.png"))
        try:
            plane = manifold(model)
        except ConfigError:
            return written  # it is of two latent dimensions with a normal prior
        written.append(save(plane, folder / "manifold.png"))
    return written
