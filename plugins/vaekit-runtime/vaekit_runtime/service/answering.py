"""An answer in the form that was asked for: JSON, an array of numpy, or a PNG."""

import io
import math

import numpy as np
import pydantic_core
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response

from vaekit_runtime.errors import short
from vaekit_runtime.pictures import grid
from vaekit_runtime.service.reading import JSON, NPY
from vaekit_runtime.service.refused import Refused
from vaekit_runtime.service.served import Array

PNG = "image/png"


def wanted(request: Request, offered: tuple[str, ...]) -> str:
    """The form that the client likes best, by its Accept header.

    Raises:
        Refused: with 406, where it is none of those that are given.
    """
    asked = request.headers.get("accept", "*/*")
    best, chosen = 0.0, ""
    ranges = [_range(part) for part in asked[:_MOST_ACCEPT].split(",")]
    for kind in offered:
        matching = [(len(name.replace("*", "")), weight) for name, weight in ranges if _matches(name, kind)]
        weight = max(matching)[1] if matching else 0.0  # the most exact says how much it is liked
        if weight > best:
            best, chosen = weight, kind
    if not chosen:
        raise Refused(406, f"an answer as {short(asked)!r} is not given here: accept {', '.join(offered)}")
    return chosen


_MOST_ACCEPT = 1000


def answer(kind: str, name: str, values: Array, limits: tuple[float, float] = (0.0, 1.0)) -> Response:
    """Results (N, ...) under their name, in one of the forms; `limits` are black and white."""
    if kind == NPY:
        return Response(_npy(values), media_type=NPY)
    if kind == PNG:
        return Response(_png(values, *limits), media_type=PNG)
    return Response(pydantic_core.to_json({name: values.tolist()}), media_type=JSON)


def plain(status: int, document: object) -> Response:
    """A small JSON document."""
    return Response(pydantic_core.to_json(document), status, media_type=JSON)


def _npy(values: Array) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values, allow_pickle=False)
    return file.getvalue()


def _png(images: Array, black: float, white: float) -> bytes:
    """Images (N, C, H, W), or sequences (N, T, F) as grey images, in a square of rows and columns."""
    sheet = grid((images - black) / (white - black), math.ceil(math.sqrt(len(images))))
    file = io.BytesIO()
    Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet).save(file, "PNG")
    return file.getvalue()


def _range(part: str) -> tuple[str, float]:
    """A media range and its weight."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    given = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    try:
        weight = float(given)
    except ValueError:
        return name, 0.0
    return name, weight if 0 <= weight <= 1 else 0.0


def _matches(name: str, kind: str) -> bool:
    return name in (kind, "*/*") or (name.endswith("/*") and kind.startswith(name[:-1]))
