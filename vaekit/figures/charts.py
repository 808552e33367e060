"""Charts of numbers, as figures of matplotlib that `save` writes."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import ConfigError
from vaekit.figures.pixels import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def chart(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, which no window and no global state knows of."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def words(text: object, most: int = 24) -> str:
    """What a stranger called something, as matplotlib shows it: no formula, no line break, never left out of a legend."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    line = (line if len(line) <= most else f"{line[: most - 1]}…").replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line


def curves(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Write what `curves_of` draws."""
    return save(curves_of(rows), path)


def curves_of(rows: Sequence[dict[str, Any]]) -> "Figure":
    """The negative ELBO, reconstruction and KL of a run by epoch, in nats per example, each on its own axes."""
    panels = {"negative ELBO": ("nelbo", "profile"), "reconstruction": ("reconstruction",), "KL": ("kl", "kl_mc")}
    figure = chart(12, 3.4)
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
    if figure.axes[0].lines:
        figure.axes[0].legend()
    return figure


def kl_bars(kl: Tensor, threshold: float = 0.1) -> "Figure":
    """The KL of each latent dimension from the prior, the largest first.

    Args:
        kl: in nats per example (D,), such as `Posteriors.kl`.
        threshold: above which a dimension counts as used, drawn as a line.

    Raises:
        ConfigError: for numbers of another shape, or that are not finite.
    """
    if kl.dim() != 1 or not len(kl) or not kl.isfinite().all():
        raise ConfigError(f"KL by dimension is of finite numbers (D,), and these have shape {tuple(kl.shape)}")
    values, order = kl.double().sort(descending=True, stable=True)
    n = len(values)
    figure = chart(min(16.0, max(4.8, 1.5 + 0.5 * n)), 3.8)
    axes = figure.subplots()
    colours = ["tab:blue" if value > threshold else "0.7" for value in values.tolist()]
    axes.bar(range(n), values.tolist(), color=colours, width=0.8 if n <= 64 else 1.0)
    if n <= _NUMBERED:
        for i, value in enumerate(values.tolist()):  # what ends below the line has its number above it, not across
            at = (i, max(value, threshold))
            axes.annotate(f"{value:.2f}", at, (0, 2), textcoords="offset points", fontsize=8, ha="center", va="bottom")
        axes.set_xticks(range(n), [str(i) for i in order.tolist()])
        axes.set_xlabel("latent dimension, from the largest KL")
    else:
        axes.set_xlabel("rank of the latent dimension by KL")
    line = axes.axhline(threshold, color="tab:red", linewidth=1, linestyle="--")
    axes.legend([line], [f"{threshold:g} nats"], loc="upper right")
    axes.set_ylim(0, max(float(values[0]) * 1.25, threshold * 1.5))
    axes.set_xlim(-0.6, n - 0.4)
    axes.set_ylabel("KL, nats per example")
    axes.set_title(f"KL by dimension: {float(values.sum()):.2f} nats, {int((values > threshold).sum())} of {n} in use")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def rate_distortion(points: Sequence[tuple[float, float, str]], connect: bool = False) -> "Figure":
    """Models as points of rate and distortion, over lines on which the bound is the same.

    Args:
        points: of each the rate E KL(q(z|x) ‖ p(z)), the distortion -E log p(x|z), both in nats per example, and a label, none
            of which is shown where there are more than 100. Distortions under different likelihoods cannot be compared.
        connect: whether they are steps on one way, such as the epochs of a run.

    Raises:
        ConfigError: where there is no point, or one that is not finite.

    References:
        Fixing a Broken ELBO (Alemi, Poole, Fischer, Dillon, Saurous, Murphy; 2018), https://arxiv.org/abs/1711.00464, figure 1.
    """
    from matplotlib.ticker import MaxNLocator

    if not points or not all(math.isfinite(rate) and math.isfinite(distortion) for rate, distortion, _ in points):
        raise ConfigError("a rate-distortion plot takes at least one (rate, distortion, label), all of them finite")
    rates, distortions = [p[0] for p in points], [p[1] for p in points]
    wide, tall = max(rates) - min(rates), max(distortions) - min(distortions)
    least = max(0.02 * (max(wide, tall) or abs(distortions[0])), 1e-3)
    across, pad = 0.12 * max(wide, least), 0.12 * max(tall, least)
    left, right = (0.0 if 0 <= min(rates) < 3 * across else min(rates) - across), max(rates) + 1.5 * across
    low, high = min(distortions) - pad, max(distortions) + pad
    figure = chart(7, 5.2)
    axes = figure.subplots()
    axes.set(xlim=(left, right), ylim=(low, high))
    axes.set_xlabel("rate: KL, nats per example")
    axes.set_ylabel("distortion: reconstruction, nats per example")
    axes.set_title("Rate and distortion, with lines of equal negative ELBO", pad=18)
    levels = [v for v in MaxNLocator(10).tick_values(left + low, right + high) if left + low < v < right + high]
    for level in levels:
        axes.plot((left, right), (level - left, level - right), color="0.8", linewidth=1, zorder=0)
        if low < level - right < high:  # it leaves at the right
            at, by, ha, va = (right, level - right), (3, 0), "left", "center"
        elif level - high > left:  # at the top
            at, by, ha, va = (level - high, high), (0, 3), "center", "bottom"
        else:  # at the left and below, where axes have numbers of their own: say it inside
            at, by, ha, va = (left, level - left), (3, 1), "left", "bottom"
        axes.annotate(f"{level:g}", at, by, textcoords="offset points", color="0.45", fontsize=8, ha=ha, va=va)
    axes.plot(rates, distortions, "o-" if connect else "o", color="tab:blue", linewidth=1, markersize=5)
    if sum(bool(label) for *_, label in points) <= _LABELLED:
        _label(figure, axes, points, connect)
    return figure


def _label(figure: "Figure", axes: Any, points: Sequence[tuple[float, float, str]], connect: bool) -> None:
    """Labels as near to their points as there is room: off the points, the way between them, and other words."""
    from matplotlib.transforms import Bbox

    figure.canvas.draw()  # settles where everything is, in pixels
    places = axes.transData.transform([point[:2] for point in points])
    steps = [(a, b - a, int(np.linalg.norm(b - a)) + 1) for a, b in itertools.pairwise(places)] if connect else []
    drawn = np.concatenate([places, *(a + way * np.linspace(0, 1, n)[:, None] for a, way, n in steps)])
    inside, unit = axes.get_window_extent().padded(-4), figure.dpi / 72
    taken = [text.get_window_extent() for text in axes.texts]
    named = places[[bool(label) for *_, label in points]]
    for (rate, distortion, label), place in zip(points, places, strict=True):
        if not label:
            continue
        said = axes.annotate(words(label), (rate, distortion), (0, 0), textcoords="offset points", fontsize=9)
        size = np.array(said.get_window_extent().size)
        best = math.inf
        for far, angle in itertools.product((6, 10, 18, 28, 40), np.pi * np.arange(1, 17) / 8):
            low = place + (far * unit + size / 2) * (np.cos(angle), np.sin(angle)) - size / 2
            box = Bbox([low, low + size])
            hits = int(((drawn > low - 6) & (drawn < low + size + 6)).all(1).sum())
            away, own = (np.linalg.norm(at - at.clip(low, low + size), axis=-1) for at in (named, place))
            hits += 100 * int((away < own + 4).sum() - 1)  # it would seem to be of another
            hits += 1000 * (box.count_overlaps(taken) + (not inside.contains(*box.min) or not inside.contains(*box.max)))
            if hits < best:
                best, chosen = hits, box
            if not best:
                break
        said.set_position((np.array(chosen.min) - place) / unit)
        taken.append(chosen)


def kl_surface(mean: Tensor | None = None, log_variance: Tensor | None = None, kl: Tensor | None = None) -> "Figure":
    """KL(N(μ, σ²) ‖ N(0, 1)) = (μ² + σ² - log σ² - 1) / 2 over mean and log-variance, with posteriors on it where given.

    Args:
        mean: of posteriors (N, D).
        log_variance: likewise.
        kl: of each dimension (D,), by which at most five are chosen to be shown, as the legend says; the first where there is
            none.

    Raises:
        ConfigError: where the two have not one shape (N, D).
    """
    if (mean is None) != (log_variance is None) or (
        mean is not None and log_variance is not None and (mean.dim() != 2 or mean.shape != log_variance.shape)
    ):
        raise ConfigError("the KL surface takes means and log-variances of one shape (N, D), or neither")
    side, low, high = 3.5, -5.0, 2.0
    if mean is not None and log_variance is not None:
        side = min(1e3, max(side, 1.1 * float(mean.abs().max())))
        low, high = max(-200.0, min(low, 1.1 * float(log_variance.min()))), min(20.0, max(high, float(log_variance.max())))
    mu, log_var = np.meshgrid(np.linspace(-side, side, 301), np.linspace(low, high, 301))
    surface = (mu**2 + np.exp(log_var) - log_var - 1) / 2
    figure = chart(7.5, 5.2)
    axes = figure.subplots()
    levels = [0.01, 0.1, 0.5, 1, 2, 3, 5, 8, 12, 20, 40, 80, 160]
    axes.imshow(np.sqrt(surface), cmap="Greys", alpha=0.5, extent=(-side, side, low, high), origin="lower", aspect="auto")
    lines = axes.contour(mu, log_var, surface, levels, colors="0.25", linewidths=0.8)
    axes.clabel(lines, fmt="%g", fontsize=8)
    axes.plot(0, 0, "k+", markersize=10, zorder=3)
    if mean is not None and log_variance is not None:
        order = torch.arange(mean.shape[1]) if kl is None else kl.argsort(descending=True, stable=True)
        for i in order[:5].tolist():
            axes.plot(mean[:, i], log_variance[:, i], ".", markersize=3, alpha=0.6, label=f"dimension {i}")
        title = f"5 of {len(order)}, {'the first' if kl is None else 'by KL'}" if len(order) > 5 else ""
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), markerscale=3, frameon=False, title=title)
    axes.set(xlim=(-side, side), ylim=(low, high))
    axes.set_xlabel("mean μ")
    axes.set_ylabel("log-variance log σ²")
    axes.set_title("KL from a standard normal, nats a dimension")
    return figure


_NUMBERED = 32
_LABELLED = 100
