"""What a request asks: JSON, an array of numpy, or a picture."""

import io
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from vaekit_runtime.errors import short
from vaekit_runtime.service.refused import Refused
from vaekit_runtime.service.served import Array

JSON, NPY = "application/json", "application/x-npy"
PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff")


class Asked(NamedTuple):
    """Examples or codes (N, ...), and what was given as y."""

    values: Array
    y: Any


def content_type(request: Request, offered: tuple[str, ...]) -> str:
    """The kind of the body.

    Raises:
        Refused: with 415, where it is none of those that are taken.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in offered:
        what = f"a body of {short(given)!r}" if given else "a body without a Content-Type"
        raise Refused(415, f"{what} is not read here: send {_one_of(offered)}")
    return given


def document(body: bytes, schema: type[BaseModel]) -> Any:
    """A JSON body, as its schema wants it.

    Raises:
        Refused: with 400 where it is not JSON, 413 where it has too many examples, 422 where it is anything else.
    """
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error, schema) from None


def from_json(body: bytes, schema: type[BaseModel], name: str) -> Asked:
    """Examples or codes in a JSON body."""
    asked = document(body, schema)
    with np.errstate(over="ignore"):  # what is too large for float32 is not finite, which is looked at
        return Asked(_finite(np.asarray(getattr(asked, name), np.float32), name), getattr(asked, "y", None))


def from_npy(body: bytes, shape: tuple[int, ...], name: str, most: int) -> Array:
    """Examples or codes (N, *shape) in a file of numpy's format, of which the header is looked at before anything else.

    Raises:
        Refused: with 400 where it is none, 413 where it has too many examples, 422 where it is of another shape or type.
    """
    found, fortran, kind, start = _header(body)
    wanted = f"a float array of shape (N, {', '.join(map(str, shape))})"
    if kind.kind != "f" or kind.itemsize not in (2, 4, 8):
        raise Refused(422, f"{name} is of {short(kind)}: send {wanted}")
    if len(found) != 1 + len(shape) or found[1:] != shape or found[0] < 1:
        raise Refused(422, f"{name} has shape {short(found)}: send {wanted}")
    if found[0] > most:
        raise Refused(413, f"{name} has {found[0]:,} examples and {most:,} are the most: send it in parts")
    if len(body) - start != prod(found) * kind.itemsize:
        raise Refused(
            400, f"{name} has {len(body) - start:,} bytes after its header, which says {prod(found) * kind.itemsize:,}"
        )
    values = np.frombuffer(body, kind, offset=start).reshape(found, order="F" if fortran else "C")
    with np.errstate(over="ignore"):
        return _finite(np.ascontiguousarray(values, np.float32), name)


def labels(request: Request) -> Any:
    """The y of a request whose body is no JSON: `?y=3`, or one each."""
    given = request.query_params.getlist("y")
    if not given:
        return None
    return given[0] if len(given) == 1 else given


def _header(body: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """The shape of an array, whether it is in Fortran's order, its type, and where its values begin."""
    size = 2 if body[6:7] == b"\1" else 4
    start = 8 + size + int.from_bytes(body[8 : 8 + size], "little")
    if start > min(_MOST_HEADER, len(body)):
        raise _no_array()
    return (*_parsed(body[:start]), start)


@lru_cache(maxsize=256)
def _parsed(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """What numpy reads in a header, which takes it longer than a small model takes to compute."""
    file = io.BytesIO(header)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, kind = read(file, max_header_size=_MOST_HEADER)
    except Exception:  # it raises whatever Python's parsers stumble over
        raise _no_array() from None
    return tuple(map(int, shape)), fortran, kind


def _no_array() -> Refused:
    return Refused(400, "the body is no array of numpy's format, version 1 or 2: write it with numpy.save")


_MOST_HEADER = 1024


def _finite(values: Array, name: str) -> Array:
    if not np.isfinite(values).all():
        raise Refused(422, f"{name} holds values that are not finite as float32: send numbers")
    return values


def _refusal(error: ValidationError, schema: type[BaseModel]) -> Refused:
    """What is wrong first, in one sentence."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place, kind, said = [str(part) for part in first["loc"]], first["type"], short(first["msg"], 200)
    there = f"an object with {', '.join(schema.model_fields)}"
    if kind == "json_invalid":
        return Refused(400, f"the body is not JSON ({said}): send {there}")
    if not place:
        return Refused(422, f"the body is not {there}: {said}")
    if kind == "extra_forbidden":
        return Refused(422, f"there is no {short(repr(place[0]))}: {there} is taken")
    if place[0] == "y":
        return Refused(422, f"y is not what it must be: {schema.model_fields['y'].description}")
    if (kind == "too_long" and len(place) == 1) or (kind == "less_than_equal" and place == ["n"]):
        return Refused(413, f"{place[0]} has too many examples ({said}): ask for them in parts")
    return Refused(422, f"{'.'.join(place)}: {said}; {place[0]} is: {schema.model_fields[place[0]].description}")


def _one_of(kinds: tuple[str, ...]) -> str:
    return kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} or {kinds[-1]}"
