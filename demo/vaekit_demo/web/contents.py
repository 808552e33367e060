"""What a page without a server is told of its model."""

import base64
import dataclasses
import gzip
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit import ConfigError
from vaekit.data.subset import some
from vaekit.export.draws import Draws
from vaekit.figures import Posteriors
from vaekit_demo import asked, calls
from vaekit_demo.engine.plane import Plane
from vaekit_demo.engine.shown import Shown
from vaekit_demo.web.sprites import Sprite

Json = dict[str, Any]
MOST_CLASSES = 1000


def check(shown: Shown) -> None:
    """Refuse a model that a page cannot show.

    Raises:
        ConfigError: saying why.
    """
    model, offered = shown.model, len(shown.classes)
    if not shown.has_mean:
        name = model.likelihood.name
        raise ConfigError(f"likelihood {name!r} has no mean in closed form, which a page would show: `vaekit demo` shows draws")
    if model.conditional and not 0 < offered <= MOST_CLASSES:
        what = f"one of {offered:,} classes" if offered else "something else than a class"
        raise ConfigError(f"this model is told {what}, and a page offers up to {MOST_CLASSES:,} classes: export without --web")


def content(shown: Shown, sprite: Sprite | None, *, light: bool) -> Json:
    """All of it, as JSON values; arrays are gzip in base64, as `packed` makes them.

    Args:
        shown: the model.
        sprite: pictures decoded beforehand.
        light: whether these are all that the page has to show.
    """
    survey = shown.survey
    chosen = some(len(survey.z), _most(shown))
    numbers = None if survey.numbers is None else survey.numbers[chosen]
    arrays: dict[str, Tensor | None] = {
        "z": survey.z[chosen],
        "y": None if survey.y is None else survey.y[chosen],
        "numbers": numbers,
        **_draws(shown),
    }
    if numbers is not None:
        x, y = shown.examples(numbers)
        arrays["sd"] = _deviations(shown, x, y)
        arrays["pictures"] = None if light else torch.from_numpy(shown.pictures(x))
    return {
        "info": _described(shown, len(chosen), sprite, standard=arrays["draws"] is None, light=light),
        "arrays": {name: packed(values, _KINDS[name]) for name, values in arrays.items() if values is not None},
        "pca": _principal(shown),
        "rows": _contexts(shown),
        "span": list(shown.span),
        "latent_shape": list(shown.model.latent.out_shape),
        "frame": dataclasses.asdict(survey.frame) if survey.frame is not None else None,
        "binary": shown.binary,
        "priors": _normals(shown),
        "sprite": None if sprite is None else _sprite(sprite),
        "light": light,
    }


_KINDS = {"z": "<f4", "sd": "<f4", "y": "<u2", "numbers": "<i4", "draws": "<f4", "draws_y": "<u2", "pictures": "|u1"}


def packed(values: Tensor, kind: str) -> str:
    """An array of little-endian numbers, row by row."""
    return base64.b64encode(compressed(values.detach().cpu().numpy().astype(np.dtype(kind)).tobytes())).decode()


def compressed(data: bytes) -> bytes:
    """gzip that is the same whenever it is made."""
    return gzip.compress(data, 9, mtime=0)


def _most(shown: Shown) -> int:
    """Examples that are carried along."""
    picture = prod(shown.pictures(torch.zeros(1, *shown.shape)).shape)
    return min(_MOST, max(_FEWEST, _MOST_NUMBERS // shown.size), max(1, _MOST_BYTES // picture))


_FEWEST, _MOST = 100, 2000
_MOST_NUMBERS, _MOST_BYTES = 2**19, 2**22


def _draws(shown: Shown) -> dict[str, Tensor | None]:
    """From a prior that is not standard normal, with their classes."""
    draws = Draws.of(shown.model)
    kept = some(draws.n, max(_FEWEST, _MOST_NUMBERS // shown.size))
    return {
        "draws": None if draws.z is None else draws.z[kept],
        "draws_y": None if draws.z is None or draws.y is None else draws.y[kept],
    }


def _deviations(shown: Shown, x: Tensor, y: Tensor | None) -> Tensor | None:
    """Of the posteriors of examples, where an ellipse can show them."""
    if not shown.survey.normal:
        return None
    log_variance = Posteriors.of(shown.model, x, y if shown.model.conditional else None).log_variance
    return None if log_variance is None else (log_variance / 2).exp()


def _described(shown: Shown, examples: int, sprite: Sprite | None, *, standard: bool, light: bool) -> Json:
    """What the panels of the demo lay themselves out by, as far as it can be without a server."""
    info = calls.describe(shown, asked.Describe(model=shown.key))
    name = info["data"]["name"]
    if not info["data"]["at_hand"]:
        whose = f"The test set of {name}" if name else "The model's test set"
        info["data"]["why"] = f"{whose} was not at hand where this page was made: codes are drawn from the prior."
    info["data"] |= {"examples": examples, "here": examples}
    info["draw"]["possible"] = info["draw"]["possible"] and not light
    if light and sprite is not None:  # beyond which there is nothing to show
        ends = [list(sprite.across), list(sprite.up)]
        info["latent"]["bounds"] = ends
        info["dims"] = [dim | {"reach": ends[dim["i"]]} for dim in info["dims"]]
    latent = shown.model.latent
    info["latent"]["whole"] = latent.out_shape == latent.root.shape  # as codes on an arc are
    lacks = ["terms", "gif", *([] if info["normal"] else ["resample"])]
    if light or not info["data"]["at_hand"]:
        lacks.append("inputs")
    return info | {"upload": False, "aggregated": False, "temperature": standard, "lacks": lacks}


def _principal(shown: Shown) -> Json | None:
    if shown.size <= 2:
        return None
    plane = Plane.through(shown, "pca")
    axes = {"origin": plane.origin.tolist(), "a": plane.a.tolist(), "b": plane.b.tolist()}
    return axes | {"labels": list(plane.labels), "title": plane.title}


def _contexts(shown: Shown) -> list[list[float]] | None:
    """c of each class."""
    if not shown.model.conditional:
        return None
    n = len(shown.classes)
    with shown.still():
        rows: list[list[float]] = shown.context(torch.arange(n), n).float().cpu().tolist()
    return rows


def _normals(shown: Shown) -> list[list[float]] | None:
    priors = shown.axis_priors
    return None if priors is None else [values.tolist() for values in priors]


def _sprite(sprite: Sprite) -> Json:
    height, width, channels = sprite.size
    return {
        "across": list(sprite.across),
        "up": list(sprite.up),
        "side": sprite.side,
        "picture": {"w": width, "h": height, "c": channels},
        "files": [base64.b64encode(file).decode() for file in sprite.files],
    }
