"""Where examples lie in the latent space, as figures of matplotlib that `save` writes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import ConfigError
from vaekit.figures.charts import chart, words
from vaekit.figures.pixels import grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Method = Literal["auto", "raw", "pca", "tsne"]
MOST = 5000
"""Points in one figure; of more, so many are drawn."""


def scatter(
    codes: Tensor,
    y: Tensor | None = None,
    classes: Sequence[str] = (),
    method: Method = "auto",
    perplexity: float = 30.0,
    seed: int = 0,
) -> "Figure":
    """Codes as points, coloured by class.

    Args:
        codes: the deterministic codes of held-out examples (N, D), as `encode` gives them; no draws.
        y: class numbers (N,).
        classes: their names.
        method: `raw` for two dimensions as they are; `pca`; `tsne`, whose distances between clusters and sizes of clusters
            mean nothing; `auto` for raw where there are two dimensions, else pca.
        perplexity: of t-SNE, in the title.
        seed: of t-SNE, and of the choice where there are more than 5,000.

    Raises:
        ConfigError: for codes that are not such, or too few of them.
    """
    kept = _chosen(codes, y, seed)
    places, title, names = _projected(codes[kept], method, perplexity, seed)
    figure = chart(7.6, 6)
    axes = figure.subplots()
    _coloured(figure, axes, places, None if y is None else y[kept], classes)
    _finish(axes, f"{title}; {_count(kept, codes)}", names)
    return figure


def thumbnails(
    codes: Tensor,
    images: Tensor,
    y: Tensor | None = None,
    classes: Sequence[str] = (),
    method: Method = "auto",
    perplexity: float = 30.0,
    seed: int = 0,
) -> "Figure":
    """As `scatter`, with small images (N, *data_shape) instead of points, as many as do not overlap; grey ones are inked in the
    colour of their class, others framed in it."""
    if len(images) != len(codes):
        raise ConfigError(f"{len(codes)} codes and {len(images)} images: give one each")
    kept = _chosen(codes, y, seed)
    places, title, names = _projected(codes[kept], method, perplexity, seed)
    labels = None if y is None else y[kept]
    side, small = 1500, 44
    low, high = places.min(0), places.max(0)
    centre, span = (low + high) / 2, max(float((high - low).max()), 1e-9) * (1 + 2 * small / side)
    at = ((places - centre) / span * [1, -1] + 0.5) * side - small / 2
    at = np.clip(at.round().astype(int), 0, side - small)
    canvas = np.full((side, side, 3), 255, dtype=np.uint8)
    taken = np.zeros((side, side), dtype=bool)
    shown = 0
    for i in np.random.default_rng(seed).permutation(len(at)).tolist():
        left, top = at[i].tolist()
        if taken[top : top + small, left : left + small].any():
            continue
        colour = None if labels is None else _colour(int(labels[i]), _how_many(y, classes))
        thumbnail = _inked(images[int(kept[i])], small, colour)
        down, across = (small - thumbnail.shape[0]) // 2, (small - thumbnail.shape[1]) // 2
        canvas[top + down :, left + across :][: thumbnail.shape[0], : thumbnail.shape[1]] = thumbnail
        taken[top : top + small, left : left + small] = True
        shown += 1
    figure = chart(9.6, 8.4)
    axes = figure.subplots()
    half = span / 2
    extent = (centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half)
    axes.imshow(canvas, extent=extent, interpolation="antialiased", origin="upper")
    if labels is not None:
        _legend(figure, axes, labels, _how_many(y, classes), classes)
    _finish(axes, f"{title}; {shown:,} of {len(codes):,} examples, none over another", names)
    return figure


def _projected(codes: Tensor, method: Method, perplexity: float, seed: int) -> tuple[np.ndarray, str, tuple[str, str]]:
    """Codes in a plane (N, 2), how they came there, and the names of the axes."""
    d = codes.shape[1]
    if method == "raw" or (method == "auto" and d == 2):
        if d != 2:
            raise ConfigError(f"codes of {d} dimensions are no plane: give pca or tsne")
        return codes.numpy(), "Codes", ("z0", "z1")
    if d < 2 or len(codes) < 3:
        raise ConfigError(f"a plane of codes is of two dimensions and three examples at least; there are {d} and {len(codes)}")
    centred = codes.double() - codes.double().mean(0)
    if method == "tsne":
        if not 1 <= perplexity < len(codes):
            raise ConfigError(f"the perplexity is {perplexity:g}: from 1, and below the number of examples, {len(codes)}")
        if not centred.any():  # scikit-learn takes the process down
            return centred[:, :2].numpy(), f"Codes of {d} dimensions, all of them the same", ("", "")
        from sklearn.manifold import TSNE

        with np.errstate(all="ignore"):
            found = TSNE(perplexity=perplexity, init="pca", random_state=seed % 2**32, n_jobs=1).fit_transform(centred.numpy())
        return found, f"Codes of {d} dimensions by t-SNE, perplexity {perplexity:g}, seed {seed}", ("", "")
    if method not in ("auto", "pca"):
        raise ConfigError(f"no method {method!r}: there are auto, raw, pca and tsne")
    _, s, axes = torch.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()  # else the sign is anyone's
    total = float(s.square().sum())
    shares = [float(value) / total if total else 0.0 for value in s[:2].square()]
    names = (f"first component ({shares[0]:.0%} of the variance)", f"second component ({shares[1]:.0%})")
    return (centred @ axes.T).numpy(), f"Codes of {d} dimensions by PCA", names


def _chosen(codes: Tensor, y: Tensor | None, seed: int) -> Tensor:
    if codes.dim() != 2 or len(codes) < 1 or not codes.isfinite().all():
        raise ConfigError(f"codes are finite numbers (N, D), and these have shape {tuple(codes.shape)}: of a grid, flatten(1)")
    if y is not None and y.shape != (len(codes),):
        raise ConfigError(f"{len(codes)} codes have labels of shape {tuple(y.shape)}: one class number each is wanted")
    if len(codes) <= MOST:
        return torch.arange(len(codes))
    return torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))[:MOST].sort().values


def _count(kept: Tensor, codes: Tensor) -> str:
    return f"{len(kept):,} examples" if len(kept) == len(codes) else f"{len(kept):,} of {len(codes):,} examples"


def _how_many(y: Tensor | None, classes: Sequence[str]) -> int:
    return max(len(classes), 0 if y is None else int(y.max()) + 1)


def _colour(i: int, n: int) -> tuple[float, float, float]:
    from matplotlib import colormaps

    colour = colormaps["tab10"](i) if n <= 10 else colormaps["tab20"](i) if n <= 20 else colormaps["turbo"](i / (n - 1))
    return colour[0], colour[1], colour[2]


def _coloured(figure: Any, axes: Any, places: np.ndarray, y: Tensor | None, classes: Sequence[str]) -> None:
    size = min(14.0, max(4.0, 14_000 / len(places)))
    alpha = min(0.8, max(0.55, 800 / len(places)))
    if y is None:
        axes.scatter(places[:, 0], places[:, 1], s=size, linewidths=0, alpha=alpha)
        return
    n = _how_many(y, classes)
    colours = [_colour(int(i), n) for i in y]
    order = np.random.default_rng(0).permutation(len(places))  # no class lies over the others where they come sorted
    axes.scatter(*places[order].T, c=[colours[i] for i in order], s=size, linewidths=0, alpha=alpha)
    _legend(figure, axes, y, n, classes)


def _legend(figure: Any, axes: Any, y: Tensor, n: int, classes: Sequence[str]) -> None:
    """The names of the classes there are; of more than twenty, a bar of their numbers."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.lines import Line2D

    if n > 20:
        figure.colorbar(ScalarMappable(Normalize(0, n - 1), "turbo"), ax=axes, label="class number", shrink=0.8)
        return
    there = [int(i) for i in y.unique()]
    handles = [Line2D([], [], color=_colour(i, n), marker="o", linestyle="") for i in there]
    labels = [words(classes[i] if i < len(classes) else i) for i in there]
    axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _inked(image: Tensor, side: int, colour: tuple[float, float, float] | None) -> np.ndarray:
    """One image on white, its longer side as given: bright pixels of a grey one become ink, in the colour of its class; one in
    colours of its own has a frame of it."""
    from PIL import Image

    picture = grid(image[None], 1)
    height, width = picture.shape[:2]
    longer = max(height, width)
    size = (max(1, round(side * width / longer)), max(1, round(side * height / longer)))
    how = Image.Resampling.BOX if side < longer else Image.Resampling.BICUBIC
    scaled = np.asarray(Image.fromarray(picture).resize(size, how))
    if picture.ndim == 3:
        framed = scaled.copy()
        if colour is not None:
            edge = [round(255 * part) for part in colour]
            for sides in (framed, framed.swapaxes(0, 1)):
                sides[:3] = sides[-3:] = edge
        return framed
    ink = np.array(colour or (0.0, 0.0, 0.0))
    share = scaled[..., None] / 255.0
    inked: np.ndarray = (255 * (1 - share * (1 - ink))).round().astype(np.uint8)
    return inked


def _finish(axes: Any, title: str, names: tuple[str, str]) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_aspect("equal", adjustable="datalim")
    if not names[0]:
        axes.set_xticks([])
        axes.set_yticks([])
