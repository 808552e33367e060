"""The calls of a page: each takes one object of JSON values and gives one."""

import base64
import dataclasses
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

    def __getitem__(self, key: object) -> Shown:
        """The model of that key, or of that title where no other has it."""
        if isinstance(key, str):
            named = [shown for shown in self if shown.title == key]
            if key in self._models or len(named) == 1:
                return self._models[key] if key in self._models else named[0]
        raise ConfigError(f"There is no model {short(key)!r} here: there are {', '.join(self._models)}.") from None

    def __contains__(self, key: str) -> bool:
        return key in self._models

    @property
    def named(self) -> list[dict[str, str]]:
        """Keys and titles, as a page lists them."""
        return [{"key": shown.key, "title": shown.title} for shown in self]

    def add(self, shown: Shown) -> None:
        """Show one more that was trained here; of such, the last few are kept."""
        trained = [other.key for other in self if other.origin.command]
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
        "drawn": drawn_note(shown),
        "latent": {
            "shape": list(model.latent.out_shape),
            "size": shown.size,
            "support": model.latent.root.support,
            "movable": not shown.immovable,
            "why": shown.immovable,
            "blocks": [dataclasses.asdict(block) for block in shown.room.blocks],
            "start": shown.start.tolist(),
            "random": shown.random,
        },
        "dims": [
            {
                "i": i,
                "kl": None if survey.kl is None else float(survey.kl[i]),
                "mean": float(survey.mean[i]),
                "sd": float(survey.sd[i]),
                "idle": survey.idle(i),
                "reach": shown.reach(i),
            }
            for i in survey.order
        ],
        "ordered": "sd" if survey.kl is None else "kl",
        "kl_of": "test examples" if at_hand else "its own samples",
        "most": shown.most,
        "bound": bound_of(shown),
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


def drawn_note(shown: Shown) -> str:
    """That pictures are draws, where they are."""
    name = shown.model.likelihood.name
    return "" if shown.has_mean else f"Pictures are draws from p(x|z): likelihood {name!r} has no mean that could be shown."


def bound_of(shown: Shown) -> str:
    """What the bound of a model is of; bounds of the same may be compared."""
    model = shown.model
    data = model.config.data if model.config else None
    prepared = {"none": "", "threshold": "black-and-white "}.get(data.binarize, "black-and-white ") if data else ""
    told = "log p(x|y)" if model.conditional else "log p(x)"
    measure = "probability" if model.likelihood.base_measure == "counting" else "density"
    return f"{told}, the {measure} of {prepared}{data.name if data else 'data'} of shape {tuple(shown.shape)}"


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
        "draws": answers.DRAWS,
        "terms_note": found.note,
        "notes": list(found.notes),
    }


def interpolate(shown: Shown, request: asked.Interpolate) -> Json:
    """The way from one example to another."""
    a, b = request.a.end(shown, request.y), request.b.end(shown, request.y)
    found, z = answers.frames(shown, a.z, b.z, _told(shown, a, b), request.frames)
    return {
        "pictures": packed(found),
        "z": z.tolist(),
        "a": packed(found[:1]),
        "b": packed(found[-1:]),
        "x_a": None if a.given is None else packed(shown.pictures(a.given.x)),
        "x_b": None if b.given is None else packed(shown.pictures(b.given.x)),
        "notes": list(dict.fromkeys(note for end in (a, b) if end.given for note in end.given.notes)),
    }


def animation(shown: Shown, request: asked.Gif) -> Json:
    """The same as a GIF."""
    a, b = request.a.end(shown, request.y), request.b.end(shown, request.y)
    found, _ = answers.frames(shown, a.z, b.z, _told(shown, a, b), request.frames)
    return {"gif": base64.b64encode(gif(found)).decode(), "name": "interpolation.gif"}


def arithmetic(shown: Shown, request: asked.Arithmetic) -> Json:
    """c + amount · (a - b)."""
    support = shown.model.latent.root.support
    if support != "real":
        what = {"codes": "Codes, which are whole numbers,", "simplex": "Categories"}.get(support, f"Codes on or in a {support}")
        raise ConfigError(f"{what} cannot be added.")
    a, b, c = (source.end(shown, request.y) for source in (request.a, request.b, request.c))
    z = shown.room.within(torch.stack([a.z, b.z, c.z, c.z + request.amount * (a.z - b.z)]))
    labels = _told(shown, a, b, c, c)
    return {"pictures": packed(shown.decode(z, None if labels is None else torch.tensor(labels))), "z": z[3].tolist()}


def samples(shown: Shown, request: asked.Samples) -> Json:
    """New examples, and the codes that they are decoded from."""
    z, y, found = shown.sampled(request.n, request.y, request.seed, request.temperature, request.source == "posterior")
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
QUICK = frozenset({"describe", "points", "decode", "look"})
"""Those that take no longer than some ten pictures, once the survey of the model has been made."""


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


def _told(shown: Shown, *ends: given.End) -> list[int] | None:
    """The classes that a conditional model is told at some places.

    Raises:
        ConfigError: where one of them has none.
    """
    if not shown.model.conditional:
        return None
    labels = [end.y for end in ends if end.y is not None]
    if len(labels) < len(ends):
        raise ConfigError("This model is told a class: choose one.")
    return labels


def _base64(values: Tensor, dtype: str) -> str:
    return base64.b64encode(values.numpy().astype(dtype).tobytes()).decode()
