"""Pictures of what a model does, as uint8 arrays (height, width) or (height, width, 3), and as PNG files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from vaekit.errors import ConfigError, ShapeError
from vaekit.model import VAE
from vaekit.shapes import Shape

Picture = np.ndarray


def drawable(shape: Shape) -> bool:
    """Whether data of this shape can be shown: images of one or three channels, and sequences as grey images."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))


def grid(images: Tensor, columns: int, gap: int = 1) -> Picture:
    """Images side by side, row by row.

    Args:
        images: (N, C, H, W) with C of 1 or 3, or (N, T, F); floats in [0, 1], cut off outside.
        columns: images a row.
        gap: pixels between them.

    Raises:
        ShapeError: where such data cannot be shown.
    """
    if not drawable(tuple(images.shape[1:])):
        raise ShapeError(f"data of shape {tuple(images.shape[1:])} cannot be shown as images")
    pixels = (images if images.dim() == 4 else images[:, None]).detach().float().cpu().clamp(0, 1).mul(255).round().byte()
    rows = -(-len(pixels) // columns)
    n, channels, height, width = pixels.shape
    tiles = torch.full((rows * columns, channels, height + gap, width + gap), 128, dtype=torch.uint8)
    tiles[:n, :, :height, :width] = pixels
    whole = rearrange(tiles, "(r k) c h w -> (r h) (k w) c", k=columns)[
        : rows * (height + gap) - gap, : columns * (width + gap) - gap
    ]
    picture: Picture = whole.squeeze(-1).numpy() if channels == 1 else whole.numpy()
    return picture


def samples(model: VAE, rows: int = 10, columns: int = 10, seed: int = 0, temperature: float = 1.0, y: Any = None) -> Picture:
    """New images: means of p(x | z) at draws from the prior; a conditional model gives one class a row, spread evenly."""
    classes = len(model.config.data.classes) if model.config and model.config.data else 0
    if y is None and model.conditional and classes:
        shown = torch.linspace(0, classes - 1, min(rows, classes)).round().long()
        rows, y = len(shown), shown.repeat_interleave(columns)
    return grid(model.sample(rows * columns, y=y, seed=seed, temperature=temperature), columns)


def reconstructions(model: VAE, x: Tensor, y: Any = None, columns: int = 10) -> Picture:
    """Originals, and under each row of them the reconstructions from their codes."""
    pairs = zip(x.split(columns), model.reconstruct(x, y).split(columns), strict=True)
    return _stack([grid(row, columns) for pair in pairs for row in pair])


def _stack(pictures: Sequence[Picture], gap: int = 1) -> Picture:
    """Pictures of one width, one under the other."""
    between = np.full((gap, *pictures[0].shape[1:]), 128, dtype=np.uint8)
    return np.concatenate([part for picture in pictures for part in (between, picture)][1:])


def manifold(model: VAE, n: int = 20, y: Any = None) -> Picture:
    """The plane of a two-dimensional latent, decoded at normal quantiles, so that equal areas hold equal probability.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, figure 4.
    """
    if model.latent.out_shape != (2,):
        raise ShapeError(f"a manifold needs two latent dimensions; this model's latent is {model.latent.out_shape}")
    quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
    down, across = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    return grid(model.decode(torch.stack([across, down], -1).reshape(-1, 2), y), n, gap=0)


def interpolation(model: VAE, a: Tensor, b: Tensor, steps: int = 10, y: Any = None) -> Picture:
    """A strip: the first image, the decoded path between the two codes, the second image."""
    path = model.interpolate(a, b, steps, y).cpu()
    return grid(torch.cat([a[None].cpu(), path, b[None].cpu()]), steps + 2)


def save(picture: Picture, path: Path, at_least: int = 400) -> Path:
    """Write a PNG, each pixel repeated until the longer side has `at_least`."""
    times = max(1, -(-at_least // max(picture.shape[:2])))
    image = Image.fromarray(picture.repeat(times, 0).repeat(times, 1))
    return _written(path, lambda: image.save(path))


def save_gif(frames: Sequence[Picture], path: Path, seconds: float = 3.0, at_least: int = 280) -> Path:
    """Write an animation of frames of one size, there and back again."""
    times = max(1, -(-at_least // max(frames[0].shape[:2])))
    there = [Image.fromarray(frame.repeat(times, 0).repeat(times, 1)) for frame in frames]
    rest = [*there[1:], *there[-2:0:-1]]
    duration = max(20, round(1000 * seconds / len(frames)))
    return _written(path, lambda: there[0].save(path, save_all=True, append_images=rest, duration=duration, loop=0))


def _written(path: Path, write: Callable[[], object]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be written: {error}") from None
    return path


def curves(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """The negative ELBO, reconstruction and KL of a run by epoch, in nats per example, each on its own axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = {"negative ELBO": ("nelbo", "profile"), "reconstruction": ("reconstruction",), "KL": ("kl", "kl_mc")}
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, names) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for split, style in (("train", {"alpha": 0.6}), ("validation", {})):
            points = [(r["epoch"], next((r[n] for n in names if n in r), None)) for r in rows if r["split"] == split]
            drawn = [(epoch, value) for epoch, value in points if value is not None]
            if drawn:
                profile = title == "negative ELBO" and any("profile" in row for row in rows if row["split"] == split)
                label = f"{split} (profile, no bound)" if profile else split
                axes.plot(*zip(*drawn, strict=True), label=label, marker="." if len(drawn) < 30 else None, **style)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel("nats per example")
    figure.axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def write(folder: Path, model: VAE, x: Tensor, y: Tensor | None, rows: Sequence[dict[str, Any]]) -> list[Path]:
    """The pictures of a run: curves, and where the data can be shown samples, reconstructions of `x`, and a manifold."""
    written = [curves(rows, folder / "curves.png")]
    y = y if model.conditional else None
    if drawable(model.data_shape):
        written.append(save(samples(model), folder / "samples.png"))
        written.append(save(reconstructions(model, x, y), folder / "reconstructions.png"))
        if model.latent.out_shape == (2,) and model.latent.root.support == "real" and y is None:
            written.append(save(manifold(model), folder / "manifold.png"))
    return written
