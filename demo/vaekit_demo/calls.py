"""The calls of a page: each takes one object of JSON values and gives one."""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from vaekit import ConfigError
from vaekit.errors import short
from vaekit_demo import asked
from vaekit_demo.engine import answers, given, plane
from vaekit_demo.engine.pictures import colours, gif, packed
from vaekit_demo.engine.shown import Shown

Json = dict[str, Any]
Request = TypeVar("Request", bound=asked.Asked)


MOST_TRAINED = 4


class Gallery:
    """The models on show, by the keys that a page calls them."""

    def __init__(self, models: list[Shown]) -> None:
        self._models = {shown.key: shown for shown in models}

    def __iter__(self) -> Iterator[Shown]:
        return iter(list(self._models.values()))

    def __getitem__(self, key: str) -> Shown:
        try:
            return self._models[key]
        except (KeyError, TypeError):  # a list is no key of any
            raise ConfigError(f"There is no model {short(key)!r} here: there are {', '.join(self._models)}.") from None

    def __contains__(self, key: str) -> bool:
        return key in self._models

    @property
    def named(self) -> list[dict[str, str]]:
        """Keys and titles, as a page lists them."""
        return [{"key": shown.key, "title": shown.title} for shown in self]

    def add(self, shown: Shown) -> None:
        """Show one more that was trained here; of such, the last few are kept."""
        trained = [other.key for other in self if other.command]
        for key in trained[: max(0, len(trained) - MOST_TRAINED + 1)]:
            del self._models[key]
        self._models[shown.key] = shown


def describe(shown: Shown, request: asked.Describe) -> Json:
    """All that a page lays itself out by."""
    model, survey = shown.model, shown.survey
    height, width, channels = shown.pictures(torch.zeros(1, *shown.shape)).shape[1:]
    undrawn = given.drawable(shown)
    frame = survey.frame
    at_hand = shown.test is not None
    return {
        "key": shown.key,
        "title": shown.title,
        "subtitle": subtitle(shown),
        "shape": list(shown.shape),
        "kind": shown.kind,
        "picture": {"w": width, "h": height, "c": channels},
        "latent": {
            "shape": list(model.latent.out_shape),
            "size": shown.size,
            "support": model.latent.root.support,
            "movable": not shown.immovable,
            "why": shown.immovable,
        },
        "dims": [
            {
                "i": i,
                "kl": None if survey.kl is None else float(survey.kl[i]),
                "mean": float(survey.mean[i]),
                "sd": float(survey.sd[i]),
                "idle": survey.idle(i),
            }
            for i in survey.order
        ],
        "ordered": "sd" if survey.kl is None else "kl",
        "normal": survey.normal,
        "classes": list(shown.classes),
        "colours": list(colours(len(shown.classes) or 1)),
        "conditional": model.conditional,
        "data": {
            "at_hand": at_hand,
            "why": shown.why,
            "name": model.config.data.name if model.config and model.config.data else "",
            "examples": len(survey.z),
            "test": len(shown.test) if shown.test is not None else 0,
        },
        "draw": {
            "possible": not undrawn,
            "why": undrawn,
            "channels": shown.shape[0] if shown.kind == "image" else 1,
            "ground": frame.ground if frame else 0.5,
            "side": 280,
        },
        "upload": not undrawn,
        "most_bytes": given.MOST_BYTES,
        "aggregated": at_hand,
        "temperature": shown.has_temperature,
        "interpolable": not shown.interpolable,
        "why_not": shown.interpolable,
        "axes": [["pca", "PCA of the codes"]] if shown.size > 2 else [],
    }


def subtitle(shown: Shown) -> str:
    """A model in one line."""
    config = shown.model.config
    shape = shown.shape
    size = " × ".join(map(str, shape))
    if shown.kind == "image":
        size = f"{shape[1]} × {shape[2]} {({1: 'grey', 3: 'colour'}).get(shape[0], f'of {shape[0]} channels')}"
    parts = [size]
    if config is not None:
        latent = shown.model.latent
        width = "×".join(map(str, latent.out_shape))
        parts.append(f"{config.encoder['name']} encoder, {latent.name} latent of {width}, {config.decoder['name']} decoder")
        if config.data is not None:
            parts.append(f"trained on {config.data.examples:,} examples of {config.data.name}")
    return " · ".join(parts)


def points(shown: Shown, request: asked.Points) -> Json:
    """The examples on a plane."""
    survey = shown.survey
    found, xy, span = answers.places(shown, request.axes)
    return {
        "n": len(xy),
        "xy": _base64(xy, "<f4"),
        "y": None if survey.y is None else _base64(survey.y, "<u2"),
        "numbers": None if survey.numbers is None else _base64(survey.numbers, "<i4"),
        "origin": found.origin.tolist(),
        "a": found.a.tolist(),
        "b": found.b.tolist(),
        "labels": list(found.labels),
        "range": list(span),
        "prior": survey.numbers is None,
        "title": found.title,
    }


def decode(shown: Shown, request: asked.Decode) -> Json:
    """The picture at a code."""
    return packed(shown.decode(torch.tensor([request.z]), request.y))


def strips(shown: Shown, request: asked.Strips) -> Json:
    """Traversals of some dimensions."""
    values, found = answers.strips(shown, _code(shown, request.z), request.y, request.dims, request.steps)
    return {"values": values.tolist(), "pictures": packed(found)}


def manifold(shown: Shown, request: asked.Manifold) -> Json:
    """A grid of pictures over a plane."""
    u, v, found = plane.manifold(shown, request.axes, _code(shown, request.z), request.y, request.side)
    return {"u": u.tolist(), "v": v.tolist(), "pictures": packed(found)}


def look(shown: Shown, request: asked.Look) -> Json:
    """An example, its reconstruction, its posterior and its terms."""
    found = answers.look(shown, request.source.input(shown), request.y, request.seed)
    return {
        "number": found.given.number,
        "label": found.given.y,
        "y": found.y,
        "x": packed(shown.pictures(found.given.x)),
        "again": packed(shown.pictures(found.again)),
        "z": found.z.tolist(),
        "code": found.code.tolist(),
        "sd": None if found.sd is None else found.sd.tolist(),
        "terms": found.terms,
        "terms_note": found.note,
        "notes": list(found.notes),
    }


def interpolate(shown: Shown, request: asked.Interpolate) -> Json:
    """The way from one example to another."""
    (a, label, first), (b, other, second) = (source.at(shown, request.y) for source in (request.a, request.b))
    found, z = answers.frames(shown, a, b, _ends(shown, label, other), request.frames)
    return {
        "pictures": packed(found),
        "z": z.tolist(),
        "a": packed(found[:1]),
        "b": packed(found[-1:]),
        "notes": list(dict.fromkeys((*first, *second))),
    }


def animation(shown: Shown, request: asked.Gif) -> Json:
    """The same as a GIF."""
    (a, label, _), (b, other, _) = (source.at(shown, request.y) for source in (request.a, request.b))
    found, _ = answers.frames(shown, a, b, _ends(shown, label, other), request.frames)
    return {"gif": base64.b64encode(gif(found)).decode(), "name": "interpolation.gif"}


def arithmetic(shown: Shown, request: asked.Arithmetic) -> Json:
    """c + amount · (a - b)."""
    if shown.model.latent.root.support != "real":
        raise ConfigError(f"Codes in a space of {shown.model.latent.root.support} cannot be added.")
    (a, label, _), (b, _, _), (c, told, _) = (source.at(shown, request.y) for source in (request.a, request.b, request.c))
    z = torch.stack([a, b, c, c + request.amount * (a - b)])
    y = told if told is not None else label
    return {"pictures": packed(shown.decode(z, y)), "z": z[3].tolist()}


def samples(shown: Shown, request: asked.Samples) -> Json:
    """New examples, and the codes that they are decoded from."""
    z, y = shown.drawn(request.n, request.y, request.seed, request.temperature, request.source == "posterior")
    found = shown.pictures(shown.model.decode(z, y))
    return {
        "pictures": packed(found),
        "z": z.flatten(1).tolist(),
        "y": None if y is None else y.tolist(),
    }


CALLS: Mapping[str, tuple[Callable[[Shown, Any], Json], type[asked.Asked]]] = {
    "describe": (describe, asked.Describe),
    "points": (points, asked.Points),
    "decode": (decode, asked.Decode),
    "strips": (strips, asked.Strips),
    "manifold": (manifold, asked.Manifold),
    "look": (look, asked.Look),
    "interpolate": (interpolate, asked.Interpolate),
    "gif": (animation, asked.Gif),
    "arithmetic": (arithmetic, asked.Arithmetic),
    "samples": (samples, asked.Samples),
}
"""What a page can call, and what it has to say for it."""


def answer(gallery: Gallery, name: str, request: Any) -> Json:
    """Answer a call.

    Raises:
        VaekitError: where the request is not what it must be, or cannot be answered.
    """
    compute, kind = CALLS[name]
    asks = kind.model_validate(request)
    return compute(gallery[asks.model], asks)


def _code(shown: Shown, z: list[float]) -> Tensor:
    return shown.at(torch.tensor([z])).flatten()


def _ends(shown: Shown, a: int | None, b: int | None) -> tuple[int, int] | None:
    if not shown.model.conditional:
        return None
    if a is None and b is None:
        raise ConfigError("This model is told a class: choose one.")
    return (a if a is not None else b or 0, b if b is not None else a or 0)


def _base64(values: Tensor, dtype: str) -> str:
    return base64.b64encode(values.numpy().astype(dtype).tobytes()).decode()
