"""The routes of a model."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from vaekit_runtime.errors import DataError, InputError, short
from vaekit_runtime.pictures import drawable
from vaekit_runtime.service import answering, reading
from vaekit_runtime.service.batching import Batcher
from vaekit_runtime.service.describing import TEXT, Description
from vaekit_runtime.service.exchange import Receive, Scope, Send
from vaekit_runtime.service.guard import Guard
from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.metrics import CONTENT_TYPE
from vaekit_runtime.service.reading import JSON, NPY, PICTURES, Asked
from vaekit_runtime.service.refused import Refused
from vaekit_runtime.service.schemas import Bodies
from vaekit_runtime.service.served import Array, Draws, Model


class Service:
    """An ASGI app that computes what a model does.

    Args:
        model: that is served.
        limits: on what is asked.

    Attributes:
        guard: that stands before the routes.
        batcher: that computes.
        api: the routes.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.batcher = Batcher(limits)
        self._bodies = Bodies(model, limits)
        self._answers = (JSON, NPY, answering.PNG) if drawable(model.served.data_shape) else (JSON, NPY)
        self._pictures = PICTURES if len(model.served.data_shape) == 3 else ()
        self._decoding = ThreadPoolExecutor(1, "pictures")
        self.api = self._routes()
        paths = frozenset(self.api.openapi()["paths"]) | {"/openapi.json"}
        self.guard = Guard(self.api, paths, limits, self.batcher.metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.guard(scope, receive, send)

    def _routes(self) -> FastAPI:
        api = FastAPI(**TEXT, docs_url=None, redoc_url=None, redirect_slashes=False, exception_handlers=_HANDLERS)
        described = Description(self.model, self.limits, self._bodies, (JSON, NPY, *self._pictures), self._answers)
        for path, said, answer in (
            ("/", described.about, self.about),
            ("/health", described.health, self.health),
            ("/metrics", described.metrics, self.metrics),
        ):
            api.get(path, **said)(answer)
            api.head(path, include_in_schema=False)(answer)
        parts = self.model.served.parts
        if "encode" in parts:
            api.post("/encode", **described.encode)(self.encode)
        if "decode" in parts:
            api.post("/decode", **described.decode)(self.decode)
            api.post("/sample", **described.sample)(self.sample)
        if {"encode", "decode"} <= set(parts):
            api.post("/reconstruct", **described.reconstruct)(self.reconstruct)
        return api

    async def about(self) -> Response:
        served, limits = self.model.served, self.limits
        return answering.plain(
            200,
            {
                "model": self.model.name,
                "data_shape": served.data_shape,
                "latent_shape": served.latent_shape,
                "units": self.model.units,
                "conditional": served.conditional,
                "classes": served.classes,
                "limits": {
                    "max_examples": limits.max_examples,
                    "max_bytes": limits.max_bytes,
                    "max_batch": limits.max_batch,
                    "queue": limits.queue,
                    "timeout": limits.timeout,
                },
                "routes": _listed(self.api),
                "versions": self.model.versions,
            },
        )

    async def health(self) -> Response:
        draining = self.guard.draining
        document = {"status": "draining" if draining else "ready", "model": self.model.name, "versions": self.model.versions}
        return answering.plain(503 if draining else 200, document)

    async def metrics(self) -> Response:
        return Response(self.batcher.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def encode(self, request: Request) -> Response:
        form = answering.wanted(request, (JSON, NPY))
        x, c = await self._given(request, self._bodies.encode, "x")
        return answering.answer(form, "z", await self._computed(self._encoded(x, c)))

    async def decode(self, request: Request) -> Response:
        form = answering.wanted(request, self._answers)
        z, c = await self._given(request, self._bodies.decode, "z")
        return self._examples(form, await self._computed(self._decoded(z, c)))

    async def reconstruct(self, request: Request) -> Response:
        form = answering.wanted(request, self._answers)
        x, c = await self._given(request, self._bodies.reconstruct, "x")

        async def both() -> Array:
            return await self._decoded(await self._encoded(x, c), c)

        return self._examples(form, await self._computed(both()))

    async def sample(self, request: Request) -> Response:
        form = answering.wanted(request, self._answers)
        reading.content_type(request, (JSON,))
        asked = reading.document(await request.body(), self._bodies.sample)
        self._make_room(request, asked.n)
        y = _given(getattr(asked, "y", None))
        return self._examples(form, await self._computed(self._drawn(asked.n, y, asked.temperature, asked.seed)))

    async def _given(self, request: Request, schema: type[BaseModel], name: str) -> tuple[Array, NDArray[Any] | None]:
        """Examples or codes and their contexts, for which there is room in the queue."""
        served, most = self.model.served, self.limits.max_examples
        kind = reading.content_type(request, (JSON, NPY, *(self._pictures if name == "x" else ())))
        self._make_room(request, 1)  # before work is done on what there is no room for
        body = await request.body()
        if kind == JSON:
            asked = reading.from_json(body, schema, name)
        elif kind == NPY:
            shape = served.data_shape if name == "x" else served.latent_shape
            asked = Asked(reading.from_npy(body, shape, name, most), reading.labels(request))
        else:
            asked = Asked(await self._picture(body), reading.labels(request))
        self._make_room(request, len(asked.values) - 1)
        return asked.values, self.model.served.context(_given(asked.y), len(asked.values))

    async def _picture(self, body: bytes) -> Array:
        """A picture as the model sees it; one is decoded at a time, since they may be large."""
        loop, image = asyncio.get_running_loop(), self.model.served.image
        return await loop.run_in_executor(self._decoding, lambda: image(body, most_pixels=_MOST_PIXELS))

    def _make_room(self, request: Request, n: int) -> None:
        request.state.until_sent.enter_context(self.batcher.room(n))

    async def _encoded(self, x: Array, c: NDArray[Any] | None) -> Array:
        return await self.batcher.joined("encode", self.model.served.encode, x, c)

    async def _decoded(self, z: Array, c: NDArray[Any] | None) -> Array:
        return await self.batcher.joined("decode", self.model.served.decode, z, c)

    async def _drawn(self, n: int, y: Any, temperature: float, seed: int | None) -> Array:
        served = self.model.served
        if isinstance(served, Draws):
            return await self._decoded(*served.draw(n, y, temperature, seed))
        return await self.batcher.alone("sample", n, lambda: served.sample(n, y, temperature=temperature, seed=seed))

    async def _computed(self, result: Awaitable[Array]) -> Array:
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await result
        except TimeoutError:
            seconds = f"{self.limits.timeout:g} s"
            raise Refused(503, f"it was not computed within {seconds}: ask again, or for less", retry=True) from None

    def _examples(self, form: str, x: Array) -> Response:
        return answering.answer(form, "x", x, self.model.range)


_MOST_PIXELS = 2**24


def _given(y: Any) -> Any:
    """y as a model takes it: classes as they are, a list of contexts as one array."""
    if not (isinstance(y, list) and y and isinstance(y[0], list)):
        return y
    try:
        with np.errstate(over="ignore"):  # what is too large is refused as not finite
            return np.asarray(y, np.float32)
    except ValueError:
        raise InputError("y has rows of several lengths: give one vector an example, all of one width") from None


def _listed(api: FastAPI) -> list[str]:
    return [f"{method.upper()} {path}" for path, methods in api.openapi()["paths"].items() for method in methods]


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return Response(error.body, error.status, error.headers, reading.JSON)


async def _unfit(request: Request, error: Exception) -> Response:
    return await _refused(request, Refused(422, str(error)))


async def _missing(request: Request, error: Exception) -> Response:
    """What is said of a path that there is not, or a method that it does not take."""
    assert isinstance(error, HTTPException)
    there = ", ".join(_listed(request.app))
    why = f"there is no {short(request.method, 20)} {short(request.url.path)}: there are {there}"
    return await _refused(request, Refused(error.status_code, why, headers=dict(error.headers or {})))


async def _failed(request: Request, error: Exception) -> Response:
    return await _refused(request, Refused(500, "the service failed on this request, and has logged why: ask who runs it"))


_HANDLERS: dict[int | type[Exception], Callable[[Request, Exception], Any]] = {
    Refused: _refused,
    InputError: _unfit,
    DataError: _unfit,
    HTTPException: _missing,
    Exception: _failed,
}
